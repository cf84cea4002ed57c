/**
 * What an app says of its steps: a handler and a config in each module below `server/queues`.
 */

import type { FlowDefinition, FlowStep, StepHandler } from '../../../index.js'
import type { QueueHandlerConfig } from '../../../nuxt-server.js'
import { type Check, expect, object, config as refuse, text } from '../../options.js'
import { within } from '../within.js'

/** A module below `server/queues`. `name`: its path there, without its extension. */
export interface HandlerModule {
  name: string
  module: { default?: unknown; config?: unknown }
}

/** What the module says of queues. */
export type QueueOptions = Record<string, { concurrency?: number }>

/** What runs in this server. */
export interface Work {
  flows: FlowDefinition[]
  /** By queue. The handlers by `flow/step`. */
  workers: Map<string, { handlers: Record<string, StepHandler>; concurrency?: number }>
}

const any: Check = () => {}
const texts: Check = (value, name) => {
  const isTexts = Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')
  expect(isTexts, value, name, 'an array of texts')
}
const oneOrMore: Check = (value, name) => (typeof value === 'string' ? text(value, name) : texts(value, name))
const role: Check = (value, name) => expect(value === 'entry' || value === 'step', value, name, '"entry" or "step"')
const CONFIG = object({
  queue: text,
  concurrency: any,
  flow: object({ name: oneOrMore, role, step: text, subscribes: texts, emits: texts }),
  triggers: any,
  accepts: texts,
  ...{ maxAttempts: any, backoff: any, schema: any, version: text },
})

type FlowPart = NonNullable<QueueHandlerConfig['flow']>

/** A handler with all that is said of it. */
interface Known {
  file: string
  handler: StepHandler
  config: QueueHandlerConfig
  queue: string
  flow: string
  step: string
  isEntry: boolean
}

/** Puts the handlers of an app together, or throws `NQ_CONFIG`, naming the file. */
export function readHandlers(modules: readonly HandlerModule[], queues: QueueOptions): Work {
  const names = new Set([...modules.map(({ name }) => queueOf(name)), ...Object.keys(queues)])
  const known = modules.flatMap((module) => readHandler(module, names))
  const flows = new Map<string, Known[]>()
  for (const handler of known) flows.set(handler.flow, [...(flows.get(handler.flow) ?? []), handler])
  const workers: Work['workers'] = new Map()
  for (const { queue, flow, step, handler, config } of known) {
    const worker = workers.get(queue) ?? { handlers: {} }
    worker.handlers[`${flow}/${step}`] = handler
    const concurrency = queues[queue]?.concurrency ?? Math.max(worker.concurrency ?? 0, config.concurrency ?? 0)
    workers.set(queue, { ...worker, ...(concurrency > 0 && { concurrency }) })
  }
  return { flows: [...flows].map(([name, handlers]) => toFlow(name, handlers)), workers }
}

function queueOf(name: string): string {
  return name.split('/')[0] as string
}

function readHandler({ name, module }: HandlerModule, queues: ReadonlySet<string>): Known[] {
  const file = `server/queues/${name}`
  if (typeof module.default !== 'function') {
    throw refuse(`${file} has no handler; write: export default defineQueueWorker(async (input, ctx) => { … })`)
  }
  const config = (module.config ?? {}) as QueueHandlerConfig
  within(file, () => CONFIG(config, 'The config'))
  const flow: Partial<FlowPart> = config.flow ?? {}
  const queue = config.queue ?? queueOf(name)
  if (!queues.has(queue)) {
    const all = [...queues].sort().join(', ')
    throw refuse(
      `${file}: there is no queue "${queue}"; known are ${all}. A new one is a folder of server/queues, or an entry of queue.queues in nuxt.config.`,
    )
  }
  const step = flow.step ?? (name.split('/').pop() as string)
  const names = typeof flow.name === 'string' ? [flow.name] : (flow.name ?? [name.replaceAll('/', '.')])
  // Without more words it is a flow of one step.
  const isEntry = flow.role === 'entry' || (flow.role === undefined && flow.name === undefined)
  return names.map((flow) => ({ file, handler: module.default as StepHandler, config, queue, flow, step, isEntry }))
}

function toFlow(name: string, handlers: Known[]): FlowDefinition {
  const [entry, second] = handlers.filter(({ isEntry }) => isEntry)
  if (entry === undefined) {
    const files = handlers.map(({ file }) => file).join(', ')
    throw refuse(`The flow "${name}" has no entry; give one of its handlers (${files}) flow.role: 'entry'.`)
  }
  if (second !== undefined) {
    throw refuse(`The flow "${name}" has two entries, ${entry.file} and ${second.file}; one has to be a step.`)
  }
  const steps: Record<string, FlowStep> = {}
  const files = new Map<string, string>()
  for (const { file, step, queue, config } of handlers) {
    const other = files.get(step)
    if (other !== undefined) {
      throw refuse(
        `The step "${step}" of the flow "${name}" has two handlers, ${other} and ${file}; rename one (flow.step).`,
      )
    }
    files.set(step, file)
    steps[step] = toStep(queue, config)
  }
  const { triggers, accepts } = entry.config
  return {
    ...{ name, entry: { step: entry.step, queue: entry.queue }, steps },
    ...(accepts && { accepts: [...accepts] }),
    ...(triggers && { triggers: 'subscribe' in triggers ? triggers : { subscribe: [...triggers] } }),
  }
}

function toStep(queue: string, config: QueueHandlerConfig): FlowStep {
  const { flow, maxAttempts, backoff, schema, version } = config
  const { subscribes, emits } = flow ?? {}
  const said = { subscribes, emits, maxAttempts, backoff, schema, version }
  const given = Object.entries(said).filter(([, value]) => value !== undefined)
  return { queue, ...Object.fromEntries(given) } as FlowStep
}
