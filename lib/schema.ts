/**
 * Payloads checked by a schema of the caller's: whatever follows Standard Schema (zod, valibot, arktype …),
 * {@link https://standardschema.dev}.
 */

import { NuxtQueueError, shown } from './errors.js'
import { invalid } from './query.js'

interface Schema {
  '~standard': { validate(value: unknown): Outcome | Promise<Outcome> }
}

interface Outcome {
  value?: unknown
  issues?: readonly Issue[]
}

interface Issue {
  message: string
  path?: ReadonlyArray<PropertyKey | { key: PropertyKey }>
}

/** What a schema made of a payload: the value, which it may have changed, or `path: message` texts. */
export type Validated = { value: unknown } | { issues: string[] }

/** Throws unless `schema` is one. */
export function checkSchema(schema: unknown, name: string): void {
  if (!isSchema(schema)) throw invalid(name, schema, 'a schema of zod, valibot, arktype or another Standard Schema')
}

/** Checks a payload. What the schema throws comes out as `NQ_VALIDATION` with it as the cause. */
export async function validate(schema: unknown, payload: unknown): Promise<Validated> {
  checkSchema(schema, 'schema')
  try {
    const { issues, value } = await (schema as Schema)['~standard'].validate(payload)
    return issues ? { issues: issues.map(issueText) } : { value }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : shown(cause)
    throw new NuxtQueueError('NQ_VALIDATION', `The schema failed instead of judging the payload: ${reason}`, { cause })
  }
}

function isSchema(schema: unknown): schema is Schema {
  // Schemas of arktype are functions.
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null) return false
  const standard = (schema as Partial<Schema>)['~standard']
  return typeof standard === 'object' && standard !== null && typeof standard.validate === 'function'
}

function issueText({ path = [], message }: Issue): string {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part))
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
}
