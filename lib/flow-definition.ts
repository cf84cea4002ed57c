/**
 * Checks flow definitions, and hands them on as the native side reads them. What needs the whole flow (names that lead
 * nowhere, steps that nothing reaches) is checked there.
 */

import type { Backoff, FlowDefinition } from '../index.js'
import { toDuration } from './duration.js'
import { checkKnown, checkName, checkObject, invalid } from './query.js'
import { checkSchema } from './schema.js'
import { modeName } from './trigger/mode.js'

/** The schemas of a flow. They are code: they stay in the process. */
export interface FlowSchemas {
  /** For what the flow is started with. */
  entry: unknown
  /** For what each step works on. */
  steps: Map<string, unknown>
}

const FLOW = ['name', 'entry', 'steps', 'triggers', 'accepts']
const ENTRY = ['step', 'queue', 'schema']
const STEP = ['queue', 'subscribes', 'emits', 'version', 'maxAttempts', 'backoff', 'schema']
const TRIGGERS = ['subscribe', 'mode']

/** A definition without its functions, and these apart. */
export function readFlow(flow: FlowDefinition): { packed: object; schemas: FlowSchemas } {
  checkKnown(flow, 'The flow', FLOW)
  if (typeof flow.name !== 'string') throw invalid('name', flow.name, 'the name of the flow')
  const schemas = new Map<string, unknown>()
  const { schema: entrySchema, ...entry } = checkKnown(flow.entry, 'entry', ENTRY)
  checkObject(flow.steps, 'steps')
  const { triggers, ...others } = flow
  if (triggers !== undefined) checkTriggers(triggers)
  keep(schemas, entry.step, entrySchema, 'entry.schema')
  const steps = Object.entries(flow.steps).map(([name, step]) => {
    const { schema, backoff, ...rest } = checkKnown(step, `steps.${name}`, STEP)
    keep(schemas, name, schema, `steps.${name}.schema`)
    return [name, backoff === undefined ? rest : { ...rest, backoff: readBackoff(backoff, `steps.${name}.backoff`) }]
  })
  // No assignment: a step may have any name.
  // An entry of which there is no more to say need not stand among the steps.
  if (!Object.hasOwn(flow.steps, entry.step)) steps.push([entry.step, { queue: entry.queue }])
  const packed = { ...others, entry, steps: Object.fromEntries(steps) }
  return { packed, schemas: { entry: entrySchema ?? schemas.get(entry.step), steps: schemas } }
}

function checkTriggers(triggers: NonNullable<FlowDefinition['triggers']>): void {
  const { subscribe, mode } = checkKnown(triggers, 'triggers', TRIGGERS)
  if (!Array.isArray(subscribe)) throw invalid('triggers.subscribe', subscribe, 'an array of names of triggers')
  for (const [index, name] of subscribe.entries()) checkName(name, `triggers.subscribe[${index}]`)
  modeName(mode)
}

function keep(schemas: Map<string, unknown>, step: string, schema: unknown, name: string): void {
  if (schema === undefined) return
  checkSchema(schema, name)
  schemas.set(step, schema)
}

function readBackoff(backoff: Backoff, name: string): object {
  const { type = 'exponential', delay, maxDelay } = checkKnown(backoff, name, ['type', 'delay', 'maxDelay'])
  if (type !== 'fixed' && type !== 'exponential') throw invalid(`${name}.type`, type, "'fixed' or 'exponential'")
  const ms = (value: number | string | undefined, member: string) =>
    value === undefined ? undefined : toDuration(value, `${name}.${member}`)
  return { type, delay: ms(delay, 'delay'), maxDelay: ms(maxDelay, 'maxDelay') }
}
