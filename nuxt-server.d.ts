/**
 * What the Nuxt module brings into the server's code. All of it is imported by name without a line.
 *
 * @packageDocumentation
 */

import type {
  Backoff,
  EmitTriggerOptions,
  EventEnvelope,
  EventRecord,
  EventStore,
  Firing,
  FlowDefinition,
  FlowEngine,
  LogQuery,
  QueueConfig,
  QueueCore,
  StandardSchema,
  TriggerDefinition,
  TriggerEngine,
  WorkerContext,
  WorkerRegistry,
} from './index.js'

export { reduceState } from './index.js'

/** What a module below `server/queues` says of its handler. */
export interface QueueHandlerConfig {
  /** The queue. Default: the first folder below `server/queues`, or the file's own name. */
  queue?: string
  /** How many steps of the queue run at the same time in this server. Default 10. `queue.queues` in `nuxt.config.ts` goes before. */
  concurrency?: number
  /** The flow, or the flows, that it is a step of. Default: one of its own with the name of the file, `orders.approve`. */
  flow?: {
    name: string | readonly string[]
    /** `'entry'`: the flow begins with it. One handler of each flow does. */
    role?: 'entry' | 'step'
    /** Its name as a step. Default: the file's name. */
    step?: string
    /** It runs when all of these have been emitted. */
    subscribes?: readonly string[]
    /** What it may emit. */
    emits?: readonly string[]
  }
  /** Of an entry: the triggers that start a run. */
  triggers?: readonly string[] | FlowDefinition['triggers']
  /** Of an entry: events that are emitted into runs from outside. */
  accepts?: readonly string[]
  /** How often it is tried. Default 1. */
  maxAttempts?: number
  /** How long to wait before it is tried again. */
  backoff?: Backoff
  /** What its input has to be. */
  schema?: StandardSchema
  /** The version of its code. */
  version?: string
}

/** The modules below `server/queues` of your app, by their path there; filled in by the module. */
// biome-ignore lint/suspicious/noEmptyInterface: apps fill it in
export interface QueueHandlers {}

type ConfigOf<M> = M extends { config: infer C } ? C : unknown
type Dotted<File> = File extends `${infer Folder}/${infer Rest}` ? `${Folder}.${Dotted<Rest>}` : File
type NamesOf<C, File> = C extends { flow: { name: infer N } } ? (N extends readonly (infer O)[] ? O : N) : Dotted<File>
type Names = { [File in keyof QueueHandlers]: NamesOf<ConfigOf<QueueHandlers[File]>, File> }[keyof QueueHandlers]

/** The flows of your app. Any text, as long as there is no handler. */
export type FlowName = [keyof QueueHandlers] extends [never] ? string : Names & string

/** The flow engine, which knows the names of your flows. */
export type AppFlowEngine = Omit<FlowEngine, 'start' | 'runs'> & {
  /** As {@link FlowEngine.start}. */
  start(flowName: FlowName, input?: unknown, options?: Parameters<FlowEngine['start']>[2]): Promise<{ runId: string }>
  /** As {@link FlowEngine.runs}. */
  runs(flowName: FlowName, options?: Parameters<FlowEngine['runs']>[1]): ReturnType<FlowEngine['runs']>
}

/**
 * Declares the handler of a step: the default export of a module below `server/queues`.
 *
 * @example
 * ```ts
 * // server/queues/orders/approve.ts
 * export const config = defineQueueConfig({ flow: { name: 'order', role: 'entry', emits: ['approved'] } })
 * export default defineQueueWorker(async (order: { total: number }, ctx) => {
 *   const { approved } = await ctx.flow.await<{ approved: boolean }>('manager.approval', { timeout: '24h' })
 *   if (approved) await ctx.flow.emit('approved', order)
 * })
 * ```
 */
// biome-ignore lint/suspicious/noExplicitAny: an input is what its schema makes of it
export function defineQueueWorker<I = any, R = unknown>(
  handler: (input: I, ctx: WorkerContext) => R | Promise<R>,
): (input: I, ctx: WorkerContext) => R | Promise<R>

/** Declares what a module below `server/queues` exports as `config`. Its names are known to {@link useFlowEngine}. */
export function defineQueueConfig<const C extends QueueHandlerConfig>(config: C): C

/** The core, as soon as it is open. For Nitro plugins and tasks; within a request it is open. */
export function useQueueCore(): Promise<QueueCore>

/**
 * The event store.
 *
 * @throws `NQ_UNAVAILABLE` as long as it is not open, which it is within a request unless its server can't be reached.
 */
export function useEventStore(): EventStore
/** Starts runs and tells how they stand. Throws as {@link useEventStore}. */
export function useFlowEngine(): AppFlowEngine
/** Triggers and awaits. Throws as {@link useEventStore}. */
export function useTriggers(): TriggerEngine
/** Who is there, and what they offer. Throws as {@link useEventStore}. */
export function useRegistry(): WorkerRegistry
/** The lines of runs. Throws as {@link useEventStore}. */
export function useLogs(): { query(query?: LogQuery): ReturnType<QueueCore['logs']['query']> } & QueueCore['logs']

/**
 * Registers a trigger as soon as the core is open; call it anywhere, such as in a Nitro plugin. What can't work stands on stderr, too.
 *
 * @returns When it is registered.
 */
export function registerTrigger(definition: TriggerDefinition): Promise<void>

/** Fires a trigger as soon as the core is open; as {@link TriggerEngine.emit}. */
export function emitTrigger(name: string, payload?: unknown, options?: EmitTriggerOptions): Promise<Firing>

/** An event that is published: of a run, with a type of your own or any other. */
export interface BusEvent extends EventEnvelope {
  type: string
  runId: string
  data?: unknown
}

/** Publishes and follows events of runs. */
export interface EventManager {
  query: EventStore['query']
  queryGlobal: EventStore['queryGlobal']
  /** Appends an event to the stream of its run. */
  publishBus(event: BusEvent): Promise<EventRecord>
  /** Calls with each event of a type (or of a pattern, `'log.*'`) of all runs from now on. Returns how to stop. */
  onType(type: string, handler: (event: EventRecord) => unknown): () => void
  /** Calls with each event of a run from now on. Returns how to stop. */
  subscribeRunId(runId: string, handler: (event: EventRecord) => unknown): () => void
}

/** The events of all runs. Throws as {@link useEventStore}. */
export function useEventManager(): EventManager

/** Who may use the routes of the module, as the hook `queue:authorize` is asked: set `allowed`. */
export interface QueueAccess {
  /** The part of the routes, and what is done: reading comes with GET. */
  action: `${'flows' | 'triggers' | 'registry'}.${'read' | 'write'}`
  /** `true` in a server for developers, and `false` otherwise, before the hook. */
  allowed: boolean
}

/** The hooks of Nitro that the module calls. */
export interface QueueHooks<Event = object> {
  /** Before the core is opened: what holds functions is set here. */
  'queue:config': (config: QueueConfig) => void | Promise<void>
  /** For each request to the module's routes, but for webhooks and the URLs of awaits. */
  'queue:authorize': (event: Event, access: QueueAccess) => void | Promise<void>
}

/** Opens the core of a server. Called by the plugin that the module makes. */
export function startQueue(
  app: object,
  config: Record<string, unknown>,
  handlers: Array<{ name: string; module: object }>,
  options: { queues: Record<string, { concurrency?: number }>; isDev: boolean },
): void

/** Answers requests to the module's routes. Used by the routes that the module makes. */
export const handleQueueRequest: (event: object) => Promise<Response>
