/**
 * Forms of manual triggers, checked against the schema of the payload where that can be read: a schema that gives itself
 * as JSON Schema by the Standard JSON Schema interface ({@link https://standardschema.dev/json-schema}).
 */

import { shown } from '../errors.js'

interface JsonObjectSchema {
  type?: unknown
  properties?: Record<string, unknown>
  required?: string[]
  additionalProperties?: unknown
}

/** What is wrong with a form, as sentences without a full stop. */
export function formProblems(form: unknown, schema: unknown): string[] {
  if (form === undefined) return []
  if (!Array.isArray(form)) return ['ui.form is no array of fields']
  const problems: string[] = []
  const names: string[] = []
  form.forEach((field, index) => {
    const name: unknown = typeof field === 'object' && field !== null ? field.name : undefined
    if (typeof name !== 'string' || name === '') problems.push(`ui.form[${index}] has no name`)
    else if (names.includes(name)) problems.push(`ui.form has two fields of the name ${shown(name)}`)
    else names.push(name)
  })
  const wanted = toObjectSchema(schema)
  return wanted === undefined ? problems : [...problems, ...mismatches(names, wanted)]
}

function mismatches(
  names: string[],
  { properties = {}, required = [], additionalProperties }: JsonObjectSchema,
): string[] {
  const isClosed = additionalProperties === undefined || additionalProperties === false
  const unknown = names.filter((name) => isClosed && !Object.hasOwn(properties, name))
  const missing = required.filter((name) => !names.includes(name))
  return [
    ...unknown.map((name) => `ui.form asks for ${shown(name)}, which the schema does not have`),
    ...missing.map((name) => `ui.form has no field for ${shown(name)}, which the schema requires`),
  ]
}

/** The schema of an object as JSON Schema, if it can be had. */
function toObjectSchema(schema: unknown): JsonObjectSchema | undefined {
  const standard = (schema as { '~standard'?: { jsonSchema?: { input?: unknown } } } | undefined)?.['~standard']
  const convert = standard?.jsonSchema?.input
  if (typeof convert !== 'function') return undefined
  try {
    const json = convert({ target: 'draft-2020-12' }) as JsonObjectSchema
    return json.type === 'object' ? json : undefined
  } catch {
    // Not every schema has a counterpart in JSON Schema.
    return undefined
  }
}
