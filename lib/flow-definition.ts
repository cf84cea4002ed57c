/**
 * Checks flow definitions, and hands them on as the native side reads them. What needs the whole flow (names that lead
 * nowhere, steps that nothing reaches) is checked there.
 */

import type { Backoff, FlowDefinition } from '../index.js'
import { toDuration } from './duration.js'
import { checkOptions, invalid } from './query.js'
import { checkSchema } from './schema.js'

/** The schemas of a flow's steps, by step. They are code: they stay in the process. */
export type FlowSchemas = Map<string, unknown>

const FLOW = ['name', 'entry', 'steps', 'triggers', 'accepts']
const ENTRY = ['step', 'queue', 'schema']
const STEP = ['queue', 'subscribes', 'emits', 'version', 'maxAttempts', 'backoff', 'schema']
const TRIGGERS = ['subscribe', 'mode']

/** A definition without its functions, and these apart. */
export function readFlow(flow: FlowDefinition): { packed: object; schemas: FlowSchemas } {
  checkOptions(flow, FLOW, 'The flow')
  if (typeof flow.name !== 'string') throw invalid('name', flow.name, 'the name of the flow')
  const schemas: FlowSchemas = new Map()
  const { schema, ...entry } = checkOptions(flow.entry, ENTRY, 'entry')
  checkOptions(flow.steps, undefined, 'steps')
  if (flow.triggers !== undefined) checkOptions(flow.triggers, TRIGGERS, 'triggers')
  keep(schemas, entry.step, schema, 'entry.schema')
  const steps = Object.entries(flow.steps).map(([name, step]) => {
    const { schema, backoff, ...rest } = checkOptions(step, STEP, `steps.${name}`)
    keep(schemas, name, schema, `steps.${name}.schema`)
    return [name, backoff === undefined ? rest : { ...rest, backoff: readBackoff(backoff, `steps.${name}.backoff`) }]
  })
  // No assignment: a step may have any name.
  return { packed: { ...flow, entry, steps: Object.fromEntries(steps) }, schemas }
}

function keep(schemas: FlowSchemas, step: string, schema: unknown, name: string): void {
  if (schema === undefined) return
  checkSchema(schema, name)
  schemas.set(step, schema)
}

function readBackoff(backoff: Backoff, name: string): object {
  const { type = 'exponential', delay, maxDelay } = checkOptions(backoff, ['type', 'delay', 'maxDelay'], name)
  if (type !== 'fixed' && type !== 'exponential') throw invalid(`${name}.type`, type, "'fixed' or 'exponential'")
  const ms = (value: number | string | undefined, member: string) =>
    value === undefined ? undefined : toDuration(value, `${name}.${member}`)
  return { type, delay: ms(delay, 'delay'), maxDelay: ms(maxDelay, 'maxDelay') }
}
