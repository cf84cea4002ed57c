/**
 * What the original nuxt-queue module calls in its own code, in the same shapes, over an event store: set these in its
 * factories, and it works on this package.
 *
 * `docs/compat.md` says what goes where, and `docs/migration.md` how the old state follows.
 *
 * @packageDocumentation
 */

import type {
  WorkerContext as CoreContext,
  EventStore,
  HistoryEntry,
  LoggingConfig,
  Point,
  QueueConfig,
  QueueCore,
  RunLogger,
  StateDiff,
  StepJob,
  StoreOptions,
} from './index.js'

/**
 * Where events are: a store, a core, or the configuration of either. With a configuration a store is opened at once and
 * connects by itself: nothing here has to be awaited, and calls wait for the connection as they do when one is lost.
 */
export type StoreSource = EventStore | QueueCore | QueueConfig | StoreOptions

/** A store or a core that is open: for what is made again and again. */
export type KnownSource = EventStore | QueueCore

// ------------------------------------------------------------------ events

/** An event as the original publishes it: without `id` and `ts`. */
export interface IngressEvent {
  type: string
  runId?: string
  flowName?: string
  stepName?: string
  stepId?: string
  attempt?: number
  data?: unknown
}

/** A stored event, in the original's shape. */
export interface EventRecord {
  /** `<ms>-<seq>`. */
  id: string
  /**
   * ISO 8601: what the writer noted as its time. It may differ from the instant in `id` by the way to the server and by
   * clocks that differ.
   */
  ts: string
  type: string
  /** `''` if the event does not say. */
  runId: string
  /** `''` if the event does not say. */
  flowName: string
  stepName?: string
  stepId?: string
  attempt?: number
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  data?: any
}

/** What an append gives back. */
export interface AppendedRecord extends EventRecord {
  /** The stream. */
  subject: string
}

/** Options of {@link EventStoreAdapter.read}. */
export interface EventReadOptions {
  /** Only events behind this one; backwards, only events before it. */
  fromId?: string
  /** At most so many. Default: all; the original stops at 100 without a word. */
  limit?: number
  /** `'forward'` (default): oldest first. `'backward'`: newest first. */
  direction?: 'forward' | 'backward'
}

/** A running subscription of {@link EventStoreAdapter.subscribe}. */
export interface EventSubscription {
  /** Ends it, at once; a second call does nothing. */
  unsubscribe(): void
}

/** A member of an index. */
export interface IndexEntry {
  id: string
  score: number
}

/** Options of {@link EventStoreAdapter.indexRead}. */
export interface IndexReadOptions {
  /** Leave out so many. Default 0. */
  offset?: number
  /** At most so many. Default 50. */
  limit?: number
}

/** The original's event store adapter. */
export interface EventStoreAdapter {
  /**
   * Appends an event. Appends have the order of the calls, awaited or not, and subscribers hear of them, those of
   * original instances on the same Redis included. Members of the event without a place in an entry are passed over; of
   * data that JSON can't hold `JSON.stringify` decides what is left.
   *
   * @throws As {@link EventStore.append}.
   */
  append(subject: string, event: IngressEvent): Promise<AppendedRecord>
  /** Reads events. It sees every append of this adapter that was called before. */
  read(subject: string, options?: EventReadOptions): Promise<EventRecord[]>
  /**
   * Calls back with events that are appended from now on, in order, none missed over a lost connection and none twice.
   * What the callback throws is a process warning.
   */
  subscribe(subject: string, onEvent: (event: EventRecord) => unknown): Promise<EventSubscription>
  /** Puts `id` into an index, or moves it there. */
  indexAdd(key: string, id: string, score: number): Promise<void>
  /** Reads an index, highest score first. */
  indexRead(key: string, options?: IndexReadOptions): Promise<IndexEntry[]>
  deleteStream(subject: string): Promise<void>
  /**
   * Deletes the streams whose names match a glob of Redis; how many there were. While `state.provider` of the
   * configuration is `'redis'` or `'dual'` also the keys of state that match, as the original does.
   */
  deleteByPattern(pattern: string): Promise<number>
  deleteIndex(key: string): Promise<void>
  /** Closes the store if it was opened here. */
  close(): Promise<void>
}

/**
 * Makes the original's event store adapter.
 *
 * @param source Where events are. An adapter name that nobody knows means memory, as in the original, with a warning.
 * @throws `NQ_CONFIG` for a configuration that can't work.
 * @example
 * ```ts
 * const adapter = createEventStoreAdapter({ adapter: 'redis', redis: { url: process.env.REDIS_URL } })
 * await adapter.append('nq:flow:42', { type: 'flow.start', runId: '42', flowName: 'order' })
 * ```
 */
export function createEventStoreAdapter(source?: StoreSource): EventStoreAdapter

// ------------------------------------------------------------------ factory

/** Names of streams and indexes. */
export interface StreamNames {
  /** `nq:flow:{runId}` */
  flow(runId: string): string
  /** `nq:flows:{flowName}` */
  flowIndex(flowName: string): string
}

/** What {@link EventStoreFactory.stream} gives. */
export interface EventStoreInstance extends Pick<EventStoreAdapter, 'append' | 'read' | 'subscribe'> {
  name: string
}

/** The original's wiring, which stores what its bus publishes. */
export interface Wiring {
  start(): unknown
  stop(): unknown
}

/** Options of {@link createEventStoreFactory}. */
export interface FactoryOptions {
  /**
   * The original's function of this name, of its `events/wiring/registry`. Without it `start()` starts nothing, and what
   * the original's bus publishes is stored by nobody.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the original's own types of adapter and names
  createWiringRegistry?: (dependencies: { adapter: any; names: any }) => Wiring
}

/** The original's event store factory. */
export interface EventStoreFactory {
  adapter: EventStoreAdapter
  names: StreamNames
  stream(name: string): EventStoreInstance
  /** Starts the wiring; a second call does nothing. */
  start(): void
  /** Stops the wiring. The adapter stays open. */
  stop(): void
}

/**
 * Makes the original's event store factory, for its `setEventStoreFactory`.
 *
 * @throws As {@link createEventStoreAdapter}.
 * @example
 * ```ts
 * const factory = createEventStoreFactory(config, { createWiringRegistry })
 * setEventStoreFactory(factory)
 * nitroApp.hooks.hook('close', () => factory.adapter.close())
 * ```
 */
export function createEventStoreFactory(source?: StoreSource, options?: FactoryOptions): EventStoreFactory

// ------------------------------------------------------------------ state

/** Options of {@link createStateProvider}. */
export interface StateOptions {
  /**
   * Where state is, see `docs/migration.md`. Default: what `state.provider` of the configuration says, or
   * `'eventStore'`. The others need a store on Redis, and `ioredis`.
   */
  provider?: 'eventStore' | 'redis' | 'dual'
}

/**
 * The original's state provider. Keys are `flow:{runId}:{name}` for the state of a run, which is in its stream, and a bare
 * name for anything else, which is in the stream `nq:state`. As in the original a `/` in a key is a `:`, a `?` and what
 * follows is cut off, and the namespace `nq:` may stand before it. What is absent is `null`.
 */
export interface StateProvider {
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  get<T = any>(key: string): Promise<T | null>
  /** Sets a key; `undefined` deletes it. `ttl` in milliseconds. */
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  set<T = any>(key: string, value: T, options?: { ttl?: number }): Promise<void>
  delete(key: string): Promise<void>
  /** The keys that begin with a prefix. `'flow:{runId}:'` reads one run; less than that looks at every run. */
  list(prefix: string, options?: { limit?: number }): Promise<{ keys: string[] }>
  /**
   * Sets what `update` makes of the present value. Concurrent patches lose nothing: `update` may be called again, until
   * nobody came before, however often; `retries` is accepted, and not needed.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  patch<T = any>(key: string, update: (previous: T | null) => T, options?: { retries?: number }): Promise<T>
  /** Ends connections, and closes the store if it was opened here. */
  close(): Promise<void>
}

/**
 * Makes the original's state provider, for its `setStateProvider`.
 *
 * @throws `NQ_CONFIG` for a configuration that can't work; `NQ_VALIDATION` for an unknown provider.
 */
export function createStateProvider(source?: StoreSource, options?: StateOptions): StateProvider

// ------------------------------------------------------------------ steps

/** Where a line or a change belongs: what its event says beside its data. The run is `runId` or, as the original has it, `flowId`. */
export interface RunContext {
  runId?: string
  flowId?: string
  flowName?: string
  stepName?: string
  stepId?: string
  attempt?: number
  queue?: string
  instanceId?: string
  workerId?: string
  correlationId?: string
}

/** Options of {@link createRunLogger}. */
export interface LoggerOptions {
  /** Where lines go. Default: what the core says, or into the run. */
  logging?: LoggingConfig
}

/**
 * Makes the log of a run or step. The original's worker calls its `log(level, message, metadata)`.
 *
 * @throws `NQ_INVALID_EVENT` without a run, `NQ_CONFIG` for a source or logging that can't work.
 */
export function createRunLogger(source: KnownSource, context: RunContext, options?: LoggerOptions): RunLogger

/** A step as the original's worker knows it. */
export interface WorkerJob extends RunContext {
  jobId: string
  queue: string
  /** What the step works on. */
  input?: unknown
  /** Goes into the context as it is. */
  provider?: unknown
  /** Goes into the context as it is. */
  registry?: unknown
  /** The original's flow engine, which then starts flows and emits events. Default: the core does. */
  // biome-ignore lint/suspicious/noExplicitAny: the original's own types
  flow?: Record<string, any>
}

/** State of a run in a {@link WorkerContext}: as in the original, what is absent is `null`. */
export interface RunState {
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  get<T = any>(key: string): Promise<T | null>
  /** Sets a key; `undefined` deletes it. `ttl` in milliseconds. */
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  set<T = any>(key: string, value: T, options?: { ttl?: number }): Promise<void>
  delete(key: string): Promise<void>
  has(key: string): Promise<boolean>
  getAll(): Promise<Record<string, unknown>>
  setBatch(values: Record<string, unknown>): Promise<void>
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  patch<T = any>(key: string, update: (previous: T | null) => T): Promise<T>
  list(prefix?: string): Promise<string[]>
  /** As its events say; see {@link CoreContext.state}. */
  at(point: Point): Promise<Record<string, unknown>>
  history(key?: string): Promise<HistoryEntry[]>
  diff(a: Point, b: Point): Promise<StateDiff>
}

/**
 * What the handler of the original's worker is given beside its input, and more: what is not in the original's is as in
 * the context of our own workers.
 */
export interface WorkerContext {
  jobId: string
  queue: string
  runId: string
  flowId: string
  flowName: string
  stepName: string
  stepId: string
  attempt: number
  logger: RunLogger
  state: RunState
  flow: {
    // biome-ignore lint/suspicious/noExplicitAny: the original's engine may be behind it
    startFlow(name: string, input?: unknown, ...more: any[]): Promise<any>
    // biome-ignore lint/suspicious/noExplicitAny: the original's engine may be behind it
    emit(name: string, payload?: unknown, ...more: any[]): Promise<StepJob[] | any>
    /**
     * Waits as `ctx.flow.await` of our own workers, with two differences: the job stays with its worker meanwhile, and an
     * await that is under way when the process dies goes on when the original runs the job again. Needs a core.
     */
    await: CoreContext['flow']['await']
  }
  /** The same for other things to wait for. */
  await: CoreContext['await']
  provider: unknown
  registry: unknown
}

/**
 * Makes the context of a step that the original's worker executes. Ask for it once for each execution.
 *
 * @param source A core, whose `state.provider` and logging then hold, and for which a step may wait; or a store.
 * @throws `NQ_INVALID_EVENT` without a run.
 * @example
 * ```ts
 * const ctx = createWorkerContext(core, { jobId: job.id, queue, flowId, flowName, stepName: job.name, attempt })
 * await handler(job.data, ctx)
 * ```
 */
export function createWorkerContext(source: KnownSource, job: WorkerJob): WorkerContext
