/**
 * The typed surface of `nuxt-queue-core`: events, the store that keeps them, and the state of a run
 * folded from them.
 *
 * Units: times are milliseconds since the Unix epoch or ISO 8601 text in UTC, durations are
 * milliseconds, but how long something is kept (`cache.ttl`, `retention`) is seconds, sizes are bytes.
 * Every failure is a {@link NuxtQueueError} with a stable `code`.
 *
 * @packageDocumentation
 */

import type { VirtualClock } from './testing.js'

// ------------------------------------------------------------------ events

/**
 * All event types and what each carries as `data`.
 *
 * Open to declaration merging: add your own types once, and `append`, `query`, `iterate` and
 * `subscribe` know them everywhere in the program.
 *
 * - `data` travels as JSON. Declare what `JSON.parse` gives back: a `Date` comes back as `string`.
 * - An entry that includes `undefined` (`undefined`, `{ … } | undefined`, `unknown`) makes `data` optional.
 * - Give a type one owner and a dotted name such as `order.paid`, so that `order.*` finds the family.
 * - Don't merge an index signature (`[type: string]: …`): it would make every type name valid.
 *   For a name known only at run time see {@link UntypedEvent}.
 *
 * Types named as an alias are what the original nuxt-queue module writes. Reducers read both names;
 * the store never rewrites one into the other.
 *
 * @example
 * ```ts
 * declare module 'nuxt-queue-core' {
 *   interface EventMap {
 *     'order.paid': { orderId: string, cents: number }
 *   }
 * }
 *
 * await store.append('nq:flow:42', { type: 'order.paid', data: { orderId: 'A7', cents: 1290 } })
 * const [paid] = await store.query({ stream: 'nq:flow:42', types: ['order.*'] })
 * paid?.data.cents // number
 * ```
 */
export interface EventMap {
  /**
   * A run began. `input` is what it was started with; `triggeredBy` and `fireId` name what started it. `flow` is its
   * plan: the steps of its flow as they were then.
   */
  'flow.started': {
    input?: unknown
    triggeredBy?: string
    fireId?: string
    version?: string
    traceparent?: string
    flow?: Record<string, unknown>
  }
  /** A run ended well. */
  'flow.completed': { result?: unknown }
  /** A run ended with an error. `error` is the message, `failedStep` the step that gave up. */
  'flow.failed': { error: string; stack?: string; failedStep?: string }
  /** A run was canceled. */
  'flow.canceled': { reason?: string }
  /**
   * A run has made no progress and nothing is left that could move it. With a step in its envelope: nothing more was
   * heard of this execution of the step, and it is executed again.
   */
  'flow.stalled': { reason?: string; executionId?: string }

  /** A step began; `attempt` of the envelope counts its tries, `executionId` names this execution of its handler. */
  'flow.step.started': { input?: unknown; executionId?: string }
  /** A step ended well. */
  'flow.step.completed': { result?: unknown; executionId?: string }
  /** A step ended with an error. */
  'flow.step.failed': { error: string; stack?: string }
  /** A failed step is tried again after `delay` milliseconds, as try `nextAttempt` of `maxAttempts`. */
  'flow.step.retry': {
    error: string
    stack?: string
    nextAttempt: number
    maxAttempts: number
    delay?: number
    executionId?: string
  }
  /** A step waits for the await of this id. */
  'flow.step.paused': { awaitId: string }
  /** A step goes on after the await of this id. */
  'flow.step.resumed': { awaitId: string; executionId?: string }
  /** The job of a step that waits has ended; another goes on with it when there is something to go on with. */
  'flow.step.suspended': { executionId?: string } | undefined
  /** An execution gave its step back, for no fault of its code: its worker closed, or a queue could not be reached. */
  'flow.step.released': { reason: string; executionId?: string }
  /** A step emitted `name` to the steps that subscribe to it, with a payload or with keys of its own. */
  emit: { name: string; payload?: unknown; [key: string]: unknown }

  /** A state key got a value; from `expiresAt` (ISO 8601) on the key is absent. */
  'state.set': { key: string; value: unknown; expiresAt?: string }
  /** A state key was removed. */
  'state.delete': { key: string }
  /** Several changes of state at once, applied in order. */
  'state.batch': { operations: Array<{ type: 'set'; key: string; value: unknown } | { type: 'delete'; key: string }> }
  /**
   * The whole state at this point, replacing everything before it. Also written by the store itself
   * (see {@link StoreOptions.snapshotEvery}).
   */
  'state.snapshot': Record<string, unknown>

  /** A log line for developers. */
  'log.debug': LogData
  /** A log line about normal work. */
  'log.info': LogData
  /** A log line about something that may need attention. */
  'log.warn': LogData
  /** A log line about a failure. */
  'log.error': LogData
  /**
   * Written by the store: the log events of this run up to the event `upTo` are no longer part of its
   * timeline (see {@link LogRetention}). It is appended before they are deleted; of several the newest
   * is kept. `level` is `info`, so it can be shown as a log line.
   */
  'log.trimmed': LogData & { upTo: string }

  /**
   * A trigger was registered. The definition holds no functions and no secret, only a secret's name. `since` (ISO 8601): when,
   * by the clock of whoever did it; schedules count from it.
   */
  'trigger.registered': { definition: Record<string, unknown>; since?: string }
  /** Fields of a trigger's definition were replaced. */
  'trigger.updated': { changes: Record<string, unknown>; since?: string }
  /** A trigger fires again. */
  'trigger.enabled': { reason?: string; since?: string } | undefined
  /** A trigger no longer fires, until it is enabled. */
  'trigger.disabled': { reason?: string; since?: string } | undefined
  /** A trigger was removed. */
  'trigger.removed': { reason?: string } | undefined
  /**
   * A flow subscribed to a trigger. `auto` starts a run at each firing, `manual` lets a person start it, with `function`
   * the flow's definition says each time. `isDefined`: by the flow's definition. `plan`: what a run of it does.
   */
  'trigger.subscribed': { flowName: string; mode?: 'auto' | 'manual' | 'function'; isDefined?: boolean; plan?: unknown }
  /** A flow no longer subscribes to a trigger. */
  'trigger.unsubscribed': { flowName: string }
  /**
   * A trigger fired. In the trigger's own stream with its payload (`payloadNotKept`: it had one, and `same` is a digest of
   * what `deduplicate` compares), the flows that it is for, and `userId`, who fired it by hand; `scheduledTime` (ISO 8601)
   * is the instant of a schedule that it is for, `delayMs` how much later it fired, `replaces` the runs that it canceled;
   * `isRetried`: it had been skipped. In the stream of all triggers `at` is the id of that event. In the stream of a run: the await `awaitId` has its answer, `data`.
   */
  'trigger.fired': {
    fireId?: string
    payload?: unknown
    payloadNotKept?: boolean
    same?: string
    isRetried?: boolean
    flows?: Array<{ flowName: string; mode: 'auto' | 'manual' }>
    at?: string
    scheduledTime?: string
    delayMs?: number
    replaces?: string[]
    userId?: string
    traceparent?: string
    awaitId?: string
    data?: unknown
  }
  /** A schedule's instant was due while a run of an earlier firing went on: it fires when that has ended. */
  'trigger.queued': {
    fireId: string
    payload?: unknown
    flows?: Array<{ flowName: string; mode: 'auto' | 'manual' }>
    at?: string
    scheduledTime: string
    delayMs?: number
  }
  /** A trigger was fired, and fires at `due` (ISO 8601) if nothing else comes. */
  'trigger.debounced': {
    fireId?: string
    due?: string
    payload?: unknown
    flows?: Array<{ flowName: string; mode: 'auto' | 'manual' }>
    userId?: string
  }
  /** A request came to a webhook: what was made of it, and what is needed to check it again. No credentials. */
  'trigger.delivered': Delivery
  /** An await was offered an answer, which its step has to judge. */
  'trigger.offered': { awaitId: string; offerId: string; data?: unknown }
  /**
   * A firing was handed to every subscribed flow, and to `awaits` awaits of its name; `manual`: flows that a person starts.
   * `runIds`: what a schedule with `overlap` has to look at before it fires again.
   */
  'trigger.processed': {
    fireId: string
    runs?: Array<{ flowName: string; runId: string }>
    runIds?: string[]
    awaits?: number
    manual?: string[]
  }
  /** A person started the run that a firing left to a person. */
  'trigger.started': { fireId: string; flowName: string; runId: string; userId?: string }
  /** A person decided that the run does not start. */
  'trigger.dismissed': { fireId: string; flowName: string; userId?: string; reason?: string }
  /**
   * A firing that was due did not happen, or an await did not take what it was offered, and why. Of several instants of a
   * schedule `from` is the first, `scheduledTime` the last, `count` how many they are (unless too many to be counted).
   */
  'trigger.skipped': {
    reason: string
    from?: string
    count?: number
    delayMs?: number
    fireId?: string
    payload?: unknown
    payloadNotKept?: boolean
    same?: string
    scheduledTime?: string
    userId?: string
    awaitId?: string
    offerId?: string
  }
  /** A firing could not be processed. */
  'trigger.failed': {
    fireId?: string
    error?: string
    stack?: string
    runs?: Array<{ flowName: string; runId: string }>
    awaits?: number
    manual?: string[]
  }
  /**
   * A run waits for a trigger, until `deadline` (ISO 8601) if there is one. `conditional`: its step judges what it is
   * offered.
   */
  'trigger.awaiting': {
    awaitId: string
    kind?: 'trigger' | 'event' | 'time' | 'webhook'
    deadline?: string
    data?: unknown
    conditional?: boolean
  }
  /** An await got its answer. */
  'trigger.resolved': { awaitId: string; fireId?: string; data?: unknown }
  /** An await's deadline passed first. */
  'trigger.timeout': { awaitId: string; deadline?: string }
  /** Written by the engine: stands for all events before it in the stream of triggers, which are trimmed. */
  'trigger.snapshot': Record<string, unknown>
  /** An await was canceled. */
  'trigger.canceled': { awaitId: string; reason?: string }

  /**
   * No healthy instance takes a step that waits, or none in a version that goes with `version`; the envelope names step and
   * queue. Recorded once, until the step is taken.
   */
  'queue.unavailable': { reason: string; version?: string }

  /** A worker offers to process a queue; the envelope names worker and instance. */
  'worker.registered': { queue: string; flows?: string[]; handlers?: string[] }
  /** A worker is alive. */
  'worker.heartbeat': { queue?: string } | undefined
  /** A worker stopped. */
  'worker.deregistered': { reason?: string } | undefined
  /** An instance offers a step of a flow; the envelope names flow, step, worker and instance. */
  'flow.step.registered': {
    queue: string
    role: 'entry' | 'step'
    subscribes?: string[]
    emits?: string[]
    version?: string
  }
  /** A process joined. */
  'instance.started':
    | { version?: string; strategy?: 'strict' | 'latest' | 'mixed'; queues?: string[]; heartbeatTimeout?: number }
    | undefined
  /** A process is alive; `blockedMs`: but for so long its event loop has not run. */
  'instance.heartbeat': { queues?: string[]; workerCount?: number; blockedMs?: number } | undefined
  /** A process takes no new steps, and ends those that it has. */
  'instance.draining': undefined
  /** A process left in good order. */
  'instance.shutdown': { reason?: string } | undefined
  /** Written by the registry: stands for all events before it in its stream, which are trimmed. */
  'registry.snapshot': Record<string, unknown>

  /** Alias of `flow.started`. */
  'flow.start': EventMap['flow.started']
  /** Alias of `flow.step.started`. */
  'step.started': EventMap['flow.step.started']
  /** Alias of `flow.step.completed`. */
  'step.completed': EventMap['flow.step.completed']
  /** Alias of `flow.step.failed`. */
  'step.failed': EventMap['flow.step.failed']
  /** Alias of `flow.step.retry`; the original gives `reason` in place of `error`. */
  'step.retry': { nextAttempt: number; maxAttempts?: number; delay?: number; error?: string; reason?: string }
  /** Alias of the four `log.*` types, told apart by `level`; metadata are keys of their own. */
  log: LogData & Record<string, unknown>
}

/** What a log event carries. */
export interface LogData {
  /** `debug`, `info`, `warn` or `error`; for `log.debug` to `log.error` the same as the type's last part. */
  level: string
  /** The line. */
  message: string
  /** Anything else worth keeping, as JSON. */
  metadata?: Record<string, unknown>
}

/**
 * Where an event comes from and what it belongs to. Every field is optional; `undefined` means absent.
 * Texts have 1 to 512 bytes of UTF-8 and no control characters.
 */
export interface EventEnvelope {
  /** The run. */
  runId?: string
  /** The name of the run's flow. */
  flowName?: string
  /** The step that wrote the event. */
  stepName?: string
  /** One execution of a step. */
  stepId?: string
  /** Which try of the step this is, a whole number from 0. */
  attempt?: number
  /** The process that wrote the event. */
  instanceId?: string
  /** The worker that wrote the event. */
  workerId?: string
  /** The job queue. */
  queue?: string
  /** The trigger that the event is about. */
  triggerName?: string
  /** Shared by all events that belong to one piece of work, across runs. */
  correlationId?: string
  /** The id of what led to this event. */
  causationId?: string
}

/** The name of a known event type: a key of {@link EventMap}. */
export type EventType = keyof EventMap & string

/** `{ data }` with the payload `D`, optional where `D` includes `undefined`. */
type Payload<D> = undefined extends D ? { data?: D } : { data: D }

/**
 * An event to be appended: type, payload, envelope. For several types `T` this is a union, so that
 * checking `type` narrows `data`.
 *
 * @example
 * ```ts
 * const event: NewEvent<'state.set'> = { type: 'state.set', runId: '42', data: { key: 'epoch', value: 1 } }
 * ```
 */
export type NewEvent<T extends EventType = EventType> = T extends EventType
  ? EventEnvelope & { type: T } & Payload<EventMap[T]>
  : never

/**
 * A stored event. For several types `T` this is a union: `record.type === 'state.set'` narrows `record.data`.
 *
 * The store holds what was written. A stream may hold types that this program does not declare
 * (written by another program, or by a cast), so give a `switch` over `type` a default branch.
 *
 * @example
 * ```ts
 * for (const record of await store.query({ stream: 'nq:flow:42' })) {
 *   if (record.type === 'state.set') console.log(record.timestamp, record.data.key)
 * }
 * ```
 */
export type EventRecord<T extends EventType = EventType> = T extends EventType ? NewEvent<T> & RecordPlace : never

/** What the store adds to an event. */
export interface RecordPlace {
  /**
   * `<ms>-<seq>`: milliseconds since the Unix epoch and a counter within the millisecond. Strictly
   * increasing within its stream. The form of Redis stream ids
   * ({@link https://redis.io/docs/latest/develop/data-types/streams/#entry-ids}), on every backend.
   * Compare ids as two numbers, not as text.
   */
  id: string
  /** The name of the stream that holds the event. */
  stream: string
  /** The instant of `id` as ISO 8601 (RFC 3339) text in UTC with milliseconds: `2025-11-05T10:00:03.000Z`. */
  timestamp: string
}

/**
 * An event whose type is known only at run time. To append one, vouch for it with a cast.
 *
 * @example
 * ```ts
 * const event: UntypedEvent = { type: `plugin.${name}`, data: JSON.parse(body) }
 * await store.append(stream, event as NewEvent)
 * ```
 */
export type UntypedEvent = EventEnvelope & { type: string; data?: unknown }

/**
 * A stored event of any type. Every {@link EventRecord} is one, so no cast is needed to handle
 * types that the program does not declare.
 *
 * @example
 * ```ts
 * const records: UntypedRecord[] = await store.query({ stream: 'nq:flow:42' })
 * records.filter(record => record.type.startsWith('plugin.'))
 * ```
 */
export type UntypedRecord = UntypedEvent & RecordPlace

/** `flow.*` and `flow.step.*` for `flow.step.started`. */
type Families<T extends string, Head extends string = ''> = T extends `${infer Part}.${infer Rest}`
  ? `${Head}${Part}.*` | Families<Rest, `${Head}${Part}.`>
  : never

/** What `types` of a query accepts: a known type, or a family such as `state.*` or `flow.step.*`. */
export type TypePattern = EventType | Families<EventType>

/**
 * The event types that `P` selects: `state.*` selects every type that begins with `state.`, however
 * many parts follow; a plain `string` may select any.
 */
export type MatchingType<P extends string> = string extends P
  ? EventType
  : P extends `${infer Family}.*`
    ? Extract<EventType, `${Family}.${string}`>
    : Extract<EventType, P>

// ------------------------------------------------------------------ store

/** Options of {@link EventStore.open}. Unknown options are refused with `NQ_CONFIG`. */
export interface StoreOptions {
  /**
   * Where events live. Default `'memory'`: in this process, gone when the store is closed.
   *
   * `'file'`: in a directory of this machine, for one process that writes. `'redis'`: Redis 6.2 or
   * later, or Valkey. `'postgres'` is reserved: in this version opening with it fails with `NQ_CONFIG`.
   */
  adapter?: 'memory' | 'file' | 'redis' | 'postgres'
  /** First part of the keys that the store itself forms, such as `nq:flow:{runId}`. Default `'nq'`. */
  prefix?: string
  /** Where Redis is, for `adapter: 'redis'`. */
  redis?: RedisOptions
  /** Reserved for `adapter: 'postgres'`, which fails with `NQ_CONFIG` in this version. */
  postgres?: { connectionString?: string; schema?: string; tls?: object | boolean }
  /** Where the directory is, for `adapter: 'file'`. */
  file?: FileOptions
  /** Bounds on events and on what may wait to be written. */
  limits?: StoreLimits
  /** How much of the runs that are read stays in memory, and for how long. */
  cache?: CacheOptions
  /** How long runs and their logs are kept. */
  retention?: RetentionOptions
  /**
   * After so many events that change a run's state, the store appends the whole state as one
   * `state.snapshot`, so that a read from nothing need not fold the run from its beginning. Nobody
   * waits for it, and it may come later: when many processes write the run a little each, or when the
   * state is large compared with what has changed. None is written of a state over
   * `limits.maxEventBytes`. A whole number; `0`: never. Default 1000.
   */
  snapshotEvery?: number
  /**
   * The clock that the store asks for the time. Default: the system's. It gives the ids in memory and
   * in a directory, and decides when a state key has expired, a log is too old and, there, a run's life is
   * over; on Redis ids come from the server's clock, which also counts lives. Time limits of the network
   * and `cache.ttl` always run in real time.
   */
  clock?: VirtualClock
}

/**
 * A directory that events are kept in: for one server, without any service.
 *
 * @example
 * const store = await EventStore.open({ adapter: 'file', file: { dir: './data/events' } })
 */
export interface FileOptions {
  /**
   * The directory, made if it is not there; on a local disk. One process at a time writes: opening fails with
   * `NQ_UNAVAILABLE` while another one does. All stores of a process that name it share it.
   */
  dir: string
  /**
   * Whether an append is acknowledged only when it is on the disk. Default `true`. With `false` it is quicker, survives
   * the end of the process, and may be lost with the machine's power.
   */
  fsync?: boolean
  /**
   * Only read, beside a process that may write: queries and subscriptions work, whatever changes something fails with
   * `NQ_CONFIG`. The directory has to be there. Default `false`. Not for `open`, whose core records itself.
   */
  readOnly?: boolean
}

/** How to reach Redis. Fields given beside `url` replace those parts of it. Without any: `redis://127.0.0.1:6379`. */
export interface RedisOptions {
  /** `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, or `unix:///path` for a socket. */
  url?: string
  /** Host name or address. Default `'127.0.0.1'`. */
  host?: string
  /** TCP port. Default `6379`. */
  port?: number
  /** Path of a Unix socket, in place of host and port. */
  socket?: string
  /** ACL user. Default: the server's default user. */
  username?: string
  /** Password. It appears in no event, log or error. */
  password?: string
  /** Database number. Default `0`. */
  db?: number
  /** `true`: encrypted, trusting the system's certificate authorities. Default `false`, for `rediss://` `true`. */
  tls?: boolean | RedisTlsOptions
  /** Reserved: opening with it fails with `NQ_CONFIG` in this version. */
  cluster?: string[]
  /** Reserved: opening with it fails with `NQ_CONFIG` in this version. */
  sentinel?: { hosts: string[]; name: string }
}

/** How to check the certificate of a Redis server. It is always checked. */
export interface RedisTlsOptions {
  /** Certificate authorities as PEM text, in place of the system's. */
  ca?: string
  /** The name that the certificate has to carry. Default: the host. */
  servername?: string
}

/** Bounds of a store. Each is a positive whole number. */
export interface StoreLimits {
  /** Largest event, in bytes of its type, envelope and JSON text. Beyond it: `NQ_TOO_LARGE`. Default 1,048,576 (1 MiB). */
  maxEventBytes?: number
  /** Bytes of appends that may wait to be acknowledged. Beyond it `append` waits; nothing is dropped. Default 67,108,864 (64 MiB). */
  maxQueuedBytes?: number
  /** Milliseconds until a waiting append fails with `NQ_TIMEOUT`, and until a read does. Default 30,000. */
  appendTimeoutMs?: number
}

/**
 * The cache of runs: folded state and, on Redis, whole timelines. It changes how long reads take, never
 * what they say beyond {@link ReadOptions.consistency}. See `docs/cache.md`.
 */
export interface CacheOptions {
  /** `false`: nothing is kept, and every read reads the run's stream. Default `true`. */
  enabled?: boolean
  /**
   * Bytes of runs in memory, as the store counts them; beyond it, what is used least goes. One timeline
   * takes at most an eighth of it. A whole number from 1. Default 67,108,864 (64 MiB).
   */
  maxBytes?: number
  /**
   * Seconds, in real time, since a run was loaded, its status changed, or its size changed by more than
   * an eighth; then it is dropped from memory. Default: `active` 86,400 (1 day), `completed` 604,800
   * (7 days), `failed` 2,592,000 (30 days).
   */
  ttl?: Lives
}

/**
 * How long runs are kept, in seconds, by the run's status; of the run's stream, `{prefix}:flow:{runId}`,
 * nothing is left then, nor of its place in `{prefix}:flows:{flowName}` when that is read. Other streams
 * are kept until they are deleted. See `docs/retention.md`.
 */
export interface RetentionOptions extends Lives {
  /**
   * A run that has not ended is kept for at least so long after its last event, and until the deadline
   * of everything that it waited for (`trigger.awaiting`); without a deadline, until it ends. Default
   * `Infinity`.
   */
  active?: number
  /**
   * A run that ended well or was canceled is kept for so long after its end, whatever is appended
   * later. Default 604,800 (7 days).
   */
  completed?: number
  /** A run that ended with an error is kept for so long after its end. Default 2,592,000 (30 days). */
  failed?: number
  /** Bounds on the logs within a run. Its other events stay. */
  logs?: LogRetention
}

/**
 * Bounds on the logs of one run: events of type `log` and `log.…`. What is beyond them is deleted in the
 * background by the stores that write logs to the run, after an event `log.trimmed` that says up to where.
 */
export interface LogRetention {
  /** Seconds after which a log event is deleted, above 0, or `Infinity`. Default `Infinity`: it stays as long as the run. */
  maxAge?: number
  /**
   * Bytes of log events, as JSON records; the oldest are deleted, so that between three quarters and the
   * whole of it are kept. A whole number from 1, or `Infinity`. Default `Infinity`.
   */
  maxBytes?: number
}

/**
 * Lives of what belongs to a run, by the run's status: seconds from 0.001 to 1000 years, fractions
 * allowed; `Infinity`: for ever.
 */
export interface Lives {
  /** The run has not ended. */
  active?: number
  /** The run ended well, or was canceled. */
  completed?: number
  /** The run ended with an error. */
  failed?: number
}

/** An instant: a `Date`, milliseconds since the Unix epoch, or ISO 8601 text (see {@link Query.startTime}). */
export type Time = string | number | Date

/**
 * What to read from one stream. `P` are the type names and families that `types` lists; they decide
 * the type of the records.
 */
export interface Query<P extends string = string> {
  /** The stream's full name, such as `nq:flow:42`. */
  stream: string
  /** Only these types, by exact name or by family (`'state.*'`). Default: all. Applied before `limit`. */
  types?: ReadonlyArray<P>
  /**
   * Only events of this instant or later. Text is ISO 8601 as in RFC 3339
   * ({@link https://www.rfc-editor.org/rfc/rfc3339}): a date and time with `Z` or an offset, or a date
   * alone, which is midnight UTC.
   */
  startTime?: Time
  /** Only events of this instant or earlier, including all events of its millisecond. Text as in `startTime`. */
  endTime?: Time
  /** Only events with a greater id. */
  after?: string
  /** Only events with a smaller id. */
  before?: string
  /** At most this many events, a whole number from 1. Default: no limit. */
  limit?: number
  /** `'asc'`: oldest first (default). `'desc'`: newest first, so that `limit` keeps the newest. */
  order?: 'asc' | 'desc'
  /**
   * As {@link ReadOptions.consistency}: `query` and `queryText` may answer from memory. `queryGlobal` and
   * `iterate` read the streams themselves and always give the newest.
   */
  consistency?: 'cached' | 'strong'
}

/** Options of a read of state. */
export interface ReadOptions {
  /**
   * `'cached'` (default): what this store knows. It includes everything that this store appended
   * before. What others append, delete or let expire is seen as soon as the server has told of it,
   * normally within milliseconds; if the server falls silent, memory is trusted for 3 seconds at most.
   * `'strong'`: also every append that was acknowledged before the call, by anyone; costs a round trip to
   * the backend for what is new.
   */
  consistency?: 'cached' | 'strong'
}

/** What to read from many streams. `limit` counts over all of them, after `types` and `filter`. */
export interface GlobalQuery<P extends string = string> extends Omit<Query<P>, 'stream'> {
  /**
   * Which streams, as a glob of Redis ({@link https://redis.io/docs/latest/commands/keys/}): `*`, `?`,
   * `[a-c]`, `[^x]`, and `\` before a character that is meant literally. Matched on bytes.
   */
  pattern: string
  /** Keeps the events for which it returns `true`. What it throws rejects the read. */
  filter?: (event: EventRecord<MatchingType<P>>) => boolean
}

/** `Q` where `P` is a plain `string` (names known only at run time), nothing where it is a literal. */
type IfDynamic<P extends string, Q> = string extends P ? Q : never

/** Conditions of an append. Both are checked and acted on in one atomic step of the backend. */
export interface AppendOptions {
  /**
   * Append only if this is the id of the stream's last event; `'0-0'`: only if the stream does not
   * exist. Otherwise `NQ_CONFLICT` and nothing is stored.
   */
  expectedLastId?: string
  /**
   * A second append to the stream with the same key stores nothing and resolves with the first one's
   * record, whatever it carries and whether or not `expectedLastId` still holds. Remembered for 7 days,
   * or until the stream or the first one's event is gone.
   */
  idempotencyKey?: string
}

/** Options of {@link EventStore.subscribe}. */
export interface SubscribeOptions {
  /**
   * Deliver the stored events with a greater id first. `'0-0'`: from the beginning. Default: only
   * events that are appended after `subscribe` has resolved.
   */
  after?: string
  /** Called once, when all events stored before the subscription began have been handled. */
  onCaughtUp?: () => void
  /**
   * Called with what the handler threw or rejected with, and the event. The subscription goes on.
   * Default: `process.emitWarning`.
   */
  onError?: (error: unknown, event: EventRecord) => void
}

/** A running subscription. */
export interface Subscription {
  /** Ends it: no further call of the handler begins. A second call does nothing. */
  unsubscribe(): Promise<void>
}

/** A stream as {@link EventStore.streams} lists it. */
export interface StreamInfo {
  /** Its full name. */
  stream: string
  /** The id of its last event. */
  lastId: string
  /** How many events it holds. */
  length: number
}

/** A member of a sorted index. */
export interface IndexEntry {
  /** The member, such as a run's id. */
  id: string
  /** What it is sorted by, such as the start time in milliseconds. */
  score: number
}

/**
 * Counters since the store was opened, and what there is now (`cachedRuns`, `cachedBytes`, `queuedBytes`).
 * How to read them: `docs/cache.md`.
 */
export interface StoreStats {
  /** Reads of state, and queries, that were answered from a run in memory, some after reading what was new. */
  hits: number
  /** Reads of state, and queries, for which a run had to be read into memory. */
  misses: number
  /** How often new events were added to a run in memory: for a read, or right behind an own append. */
  advances: number
  /** How often others changed a run in memory, or its stream turned out to be another one, or to lack events. */
  invalidations: number
  /** Runs in memory now. */
  cachedRuns: number
  /** Bytes of what is in memory now, as the store counts them; at most `cache.maxBytes`. */
  cachedBytes: number
  /** Events read from the backend, by anything that reads. */
  eventsRead: number
  /** Events stored by this store. */
  appended: number
  /** Groups of appends sent to the backend; `appended / pipelines` is the mean size of a group. Stays 0 in memory, where nothing is sent. */
  pipelines: number
  /** Bytes of appends that are on their way to the backend now, or wait to be. */
  queuedBytes: number
  /** Snapshots that this store wrote by itself; see {@link StoreOptions.snapshotEvery}. */
  snapshots: number
  /** Events that this store deleted: logs beyond their bounds, and what a compaction covers. */
  trimmed: number
  /** State events that could not be read as what they should be, each time a run with one is folded; they change nothing. */
  unreadable: number
}

/**
 * An ordered, durable log of events in named streams.
 *
 * An open store does not keep the process alive; a pending promise does. Names of streams have 1 to
 * 512 bytes of UTF-8, names of types 1 to 128, both without control characters.
 *
 * Every method can fail with `NQ_CLOSED` after {@link EventStore.close | close()}; on Redis also with
 * `NQ_UNAVAILABLE` (it can't be reached), `NQ_TIMEOUT` (no answer in time) and `NQ_BACKEND` (it refused).
 *
 * @example
 * ```ts
 * import { EventStore } from 'nuxt-queue-core'
 *
 * const store = await EventStore.open({ adapter: 'redis', redis: { url: 'redis://localhost:6379' } })
 * await store.append('nq:flow:42', { type: 'log.info', runId: '42', data: { level: 'info', message: 'hello' } })
 * const logs = await store.query({ stream: 'nq:flow:42', types: ['log.*'], order: 'desc', limit: 10 })
 * await store.close()
 * ```
 */
export class EventStore {
  private constructor()

  /**
   * Opens a store and checks that its backend answers.
   *
   * @throws `NQ_CONFIG` for options that can't work, also a server that is too old or refuses the log-in,
   * `NQ_UNAVAILABLE` if it can't be reached (the message names host and port, never the password),
   * (`NQ_BINDING`, when the native addon for this platform can't be loaded, is thrown by the import of the package.)
   */
  static open(options?: StoreOptions): Promise<EventStore>

  /**
   * Appends an event and resolves with its record once the backend has it. Appends to a stream are
   * stored in the order of the calls, awaited or not. After a dropped connection the event is there
   * exactly once.
   *
   * @param stream The stream's full name. It begins to exist with its first event.
   * @throws `NQ_INVALID_EVENT` for a bad stream name, type, envelope or payload (the message gives the
   * path of what JSON can't hold, such as `data.model.weights[3]`), `NQ_TOO_LARGE` over
   * `limits.maxEventBytes`, `NQ_CONFLICT` if `expectedLastId` no longer holds, `NQ_VALIDATION` for
   * malformed options, `NQ_TIMEOUT` after `limits.appendTimeoutMs` (the message says whether the event
   * may have been stored).
   */
  append<T extends EventType>(stream: string, event: NewEvent<T>, options?: AppendOptions): Promise<EventRecord<T>>

  /**
   * Appends several events: all or none, next to each other, in the order given.
   *
   * @returns The records, in the same order.
   * @throws As {@link EventStore.append}; also `NQ_VALIDATION` for an empty list.
   */
  appendBatch<T extends EventType>(
    stream: string,
    events: ReadonlyArray<NewEvent<T>>,
    options?: AppendOptions,
  ): Promise<EventRecord<T>[]>

  /**
   * Reads events of one stream. There is no limit unless you set one; a stream that does not exist has
   * no events. The type of `data` follows from `types`.
   *
   * @throws `NQ_VALIDATION` for a malformed id, time, limit, order or type, `NQ_BACKEND` if the
   * name belongs to a key that is no stream, `NQ_TRIMMED` if events after `after` were replaced by a
   * compaction's snapshot.
   * @example
   * ```ts
   * const sets = await store.query({ stream: 'nq:flow:42', types: ['state.set'] })
   * sets[0]?.data.key // string
   * ```
   */
  query<T extends EventType = EventType>(query: Query<T>): Promise<EventRecord<T>[]>
  /** Reads events of one stream, with `types` known only at run time. */
  query<P extends string>(query: IfDynamic<P, Query<P>>): Promise<EventRecord[]>
  /** Reads events of one stream, with families such as `state.*` in `types`. */
  query<P extends TypePattern>(query: Query<P>): Promise<EventRecord<MatchingType<P>>[]>

  /**
   * Reads events of every stream whose name matches `pattern`: in id order within each stream, streams
   * in no promised order.
   *
   * @throws As {@link EventStore.query}, and what `filter` throws.
   * @example
   * ```ts
   * const failed = await store.queryGlobal({
   *   pattern: 'nq:flow:*',
   *   types: ['flow.failed'],
   *   filter: event => event.data.error.includes('OutOfMemory')
   * })
   * ```
   */
  queryGlobal<T extends EventType = EventType>(query: GlobalQuery<T>): Promise<EventRecord<T>[]>
  /** Reads events of many streams, with `types` known only at run time. */
  queryGlobal<P extends string>(query: IfDynamic<P, GlobalQuery<P>>): Promise<EventRecord[]>
  /** Reads events of many streams, with families such as `state.*` in `types`. */
  queryGlobal<P extends TypePattern>(query: GlobalQuery<P>): Promise<EventRecord<MatchingType<P>>[]>

  /**
   * The answer of {@link EventStore.query} as the text of one JSON array, never parsed on its way: for
   * HTTP and WebSocket answers.
   *
   * @throws As {@link EventStore.query}.
   */
  queryText(query: Query): Promise<string>

  /**
   * The events of {@link EventStore.query} (with `stream`) or {@link EventStore.queryGlobal} (with
   * `pattern`) one by one, in bounded memory. Leaving the loop ends the read.
   *
   * @throws As {@link EventStore.query}, from the loop.
   * @example
   * ```ts
   * for await (const event of store.iterate({ stream: 'nq:flow:42', types: ['log.error'] })) {
   *   console.log(event.timestamp, event.data.message)
   * }
   * ```
   */
  iterate<T extends EventType = EventType>(query: Query<T> | GlobalQuery<T>): AsyncIterable<EventRecord<T>>
  /** The events of a query one by one, with `types` known only at run time. */
  iterate<P extends string>(query: IfDynamic<P, Query<P> | GlobalQuery<P>>): AsyncIterable<EventRecord>
  /** The events of a query one by one, with families such as `state.*` in `types`. */
  iterate<P extends TypePattern>(query: Query<P> | GlobalQuery<P>): AsyncIterable<EventRecord<MatchingType<P>>>

  /**
   * Calls `handler` with the events of a stream, or of every stream that matches a glob (see
   * {@link GlobalQuery.pattern}), also of those that begin later. In order within each stream, one call
   * at a time: a returned promise is awaited before the next. No gap and no event twice, over the seam
   * between stored and new events and over a reconnect. A slow handler holds up only its own subscription.
   *
   * Resolves once the subscription is established. Note the last `event.id` handled and pass it as
   * `after` to go on there next time.
   *
   * @throws `NQ_VALIDATION` for a malformed name, pattern or `after`.
   * @example
   * ```ts
   * const subscription = await store.subscribe('nq:flow:*', event => {
   *   if (event.type === 'flow.failed') console.error(event.runId, event.data.error)
   * })
   * await subscription.unsubscribe()
   * ```
   */
  subscribe(
    streamOrPattern: string,
    handler: (event: EventRecord) => void | Promise<void>,
    options?: SubscribeOptions,
  ): Promise<Subscription>

  /**
   * The streams whose names match a glob (see {@link GlobalQuery.pattern}), in no promised order.
   *
   * @throws `NQ_VALIDATION` for an empty pattern, from the loop.
   */
  streams(pattern: string): AsyncIterable<StreamInfo>

  /** Deletes a stream. Resolves with whether it existed. */
  deleteStream(stream: string): Promise<boolean>

  /**
   * Deletes every stream whose name matches a glob (see {@link GlobalQuery.pattern}). Keys that are
   * no streams stay.
   *
   * @returns How many were deleted.
   */
  deleteStreams(pattern: string): Promise<number>

  /**
   * Puts `id` into the sorted index `key`, or moves it there to another score.
   *
   * @param key The index's full name, such as `nq:flows:{flowName}`.
   * @throws `NQ_VALIDATION` for an empty key or id, or a score that is no finite number.
   */
  indexAdd(key: string, id: string, score: number): Promise<void>

  /**
   * Reads a sorted index: highest score first, equal scores by id descending. Without `limit` all of
   * it, from `offset` (default 0) on. Of `{prefix}:flows:{flowName}`, runs that have expired are no
   * members any more.
   *
   * @throws `NQ_VALIDATION` for an `offset` below 0 or a `limit` below 1.
   */
  indexRead(key: string, options?: { offset?: number; limit?: number }): Promise<IndexEntry[]>

  /** Deletes a sorted index; one that does not exist is fine. */
  indexDelete(key: string): Promise<void>

  /**
   * The state of one run, kept in the stream `{prefix}:flow:{runId}`. Costs nothing until it is used.
   *
   * @typeParam S The run's state, key by key.
   * @param envelope Added to every event that the state writes, beside `runId`.
   * @throws `NQ_INVALID_EVENT` for a bad run id or envelope.
   */
  state<S extends object = Record<string, unknown>>(runId: string, envelope?: EventEnvelope): RunState<S>

  /** Counters since the store was opened, and what is in memory now. */
  stats(): StoreStats

  /**
   * Refuses new calls with `NQ_CLOSED`, writes what was accepted, ends subscriptions, and resolves when
   * all that is done. A second call resolves with the first.
   */
  close(): Promise<void>
}

// ------------------------------------------------------------------ state

/**
 * A point in a run's history: an instant (`Date`, milliseconds, ISO 8601 text as in
 * {@link Query.startTime}) or an event (`'1762336803000-0'`, or `{ id }`). An instant includes all
 * events of its millisecond; an event includes itself.
 */
export type Point = Date | string | number | { id: string }

/** One change of one key, as {@link RunState.history} lists it. */
export interface HistoryEntry {
  /** The id of the event that made the change. */
  id: string
  /** Its instant, ISO 8601. */
  timestamp: string
  /** The key. */
  key: string
  /** The new value; absent for a removal. */
  value?: unknown
  /** `true` if the key was removed. */
  deleted?: true
  /** The step that did it, if the event says so. */
  stepName?: string
}

/** What changed between two points. */
export interface StateDiff {
  /** Keys that came, with their values. */
  added: Record<string, unknown>
  /** Keys that went, with their last values. */
  removed: Record<string, unknown>
  /** Keys whose value is another, with both values. */
  changed: Record<string, { from: unknown; to: unknown }>
  /**
   * For each key above, the id of the event that did it. Not enumerable, so it does not show up when
   * the diff is printed, compared or turned into JSON.
   */
  readonly events: Readonly<Record<string, string>>
}

/**
 * The state of one run: a map of keys to JSON values, folded from the events of the run's stream.
 *
 * A missing or expired key is `undefined`, a stored `null` is `null`. Any text is a key, also
 * `__proto__`. Get one from {@link EventStore.state}. Methods fail as those of {@link EventStore} do.
 *
 * @typeParam S The run's state, key by key.
 * @example
 * ```ts
 * const state = store.state<{ epoch: number, loss: number }>('42')
 * await state.setBatch({ epoch: 1, loss: 0.4 })
 * await state.patch('epoch', epoch => (epoch ?? 0) + 1)
 * await state.get('epoch')           // 2
 * await state.at('2025-11-05T10:00:03Z') // the state as it was then
 * ```
 */
export class RunState<S extends object = Record<string, unknown>> {
  private constructor()

  /**
   * The value of a key, or `undefined`.
   *
   * @throws `NQ_VALIDATION` for a key that is no text, or malformed options.
   */
  get<K extends keyof S & string>(key: K, options?: ReadOptions): Promise<S[K] | undefined>

  /**
   * All keys that are present, with their values.
   *
   * @throws `NQ_VALIDATION` for malformed options.
   */
  getAll(options?: ReadOptions): Promise<Partial<S>>

  /**
   * Whether a key is present; one that holds `null` is.
   *
   * @throws As {@link RunState.get}.
   */
  has(key: keyof S & string, options?: ReadOptions): Promise<boolean>

  /**
   * Sets a key, by a `state.set` event.
   *
   * @param options `ttl`: milliseconds until the key is absent again, above 0. Default: it stays.
   * @throws `NQ_INVALID_EVENT` for a value that JSON can't hold, `NQ_VALIDATION` for a bad key or `ttl`.
   */
  set<K extends keyof S & string>(key: K, value: S[K], options?: { ttl?: number }): Promise<void>

  /** Removes a key, by a `state.delete` event. */
  delete(key: keyof S & string): Promise<void>

  /**
   * Sets several keys at once, by one `state.batch` event: readers see all of them or none.
   *
   * @throws As {@link RunState.set}.
   */
  setBatch(values: Partial<S>): Promise<void>

  /**
   * Replaces a value by what `update` makes of it. If another write comes between, `update` is called
   * again with the newer value, so that concurrent patches lose nothing. What `update` throws rejects
   * the call, and nothing is stored.
   *
   * @returns The value that was stored.
   */
  patch<K extends keyof S & string>(key: K, update: (previous: S[K] | undefined) => S[K]): Promise<S[K]>

  /**
   * The keys that are present and begin with `prefix` (default: all), sorted ascending.
   *
   * @throws As {@link RunState.get}.
   */
  list(prefix?: string, options?: ReadOptions): Promise<string[]>

  /**
   * The state as it was at a point: exactly what folding the events up to there gives.
   *
   * @throws `NQ_VALIDATION` for a malformed point.
   */
  at(point: Point): Promise<Partial<S>>

  /** Every change of a key, or of all keys, oldest first. */
  history(key?: string): Promise<HistoryEntry[]>

  /**
   * What changed from point `a` to point `b`.
   *
   * @throws `NQ_VALIDATION` for a malformed point.
   */
  diff(a: Point, b: Point): Promise<StateDiff>

  /** Writes the present state as one `state.snapshot` event and resolves with its record. */
  snapshot(): Promise<EventRecord<'state.snapshot'>>
}

/** An event as {@link reduceState} needs it; any record is one. */
export type StateEvent = Pick<UntypedRecord, 'type' | 'data'> & Partial<Pick<UntypedRecord, 'id' | 'timestamp'>>

/**
 * Folds state events, in the order given, into the state they make. Ignores every other type. Pure:
 * asks no clock, changes no argument.
 *
 * @param options `at`: the point asked about. Events with a later `id` are left out, and so are keys
 * that have expired by then. Without it every event counts and no key expires.
 * @throws `NQ_VALIDATION` for a malformed point or an argument that is no array.
 * @example
 * ```ts
 * const events = await store.query({ stream: 'nq:flow:42', types: ['state.*'] })
 * reduceState(events) // { status: 'training', epoch: 2 }
 * ```
 */
export function reduceState(events: ReadonlyArray<StateEvent>, options?: { at?: Point }): Record<string, unknown>

/**
 * Folds the events of one run, in the order given, into its status. Reads the aliases too, ignores
 * types it does not know. Pure.
 *
 * @throws `NQ_VALIDATION` for an empty list or an argument that is no array.
 * @example
 * ```ts
 * reduceRun(await store.query({ stream: 'nq:flow:42' })).status // 'completed'
 * ```
 */
export function reduceRun(events: ReadonlyArray<UntypedRecord>): RunStatus

/** The status of a run. */
export interface RunStatus {
  /** The run. */
  runId: string
  /** Its flow; `''` if no event says. */
  flowName: string
  /** `awaiting`: a step waits for a trigger. `stalled`: nothing is left that could move the run. */
  status: 'running' | 'awaiting' | 'completed' | 'failed' | 'canceled' | 'stalled'
  /** When it began, ISO 8601. */
  startedAt: string
  /** When it ended, ISO 8601; absent while it has not. */
  endedAt?: string
  /** What started it, if its start event says so. */
  triggeredBy?: string
  /** What it belongs together with, if its start event says so: see {@link FlowEngine.trace}. */
  correlationId?: string
  /** The id of what led to it, if its start event says so. */
  causationId?: string
  /**
   * Where it stands in a distributed trace, as a [W3C `traceparent`](https://www.w3.org/TR/trace-context/), if what started
   * it was traced; see {@link QueueConfig.telemetry}.
   */
  traceparent?: string
  /** The version of the code that it is to run in, if its start event says so. */
  version?: string
  /** Its steps by name. */
  steps: Record<
    string,
    {
      /** Where the step is; `queued` steps have not begun, `retrying` ones failed and are tried again. */
      status: 'queued' | 'running' | 'paused' | 'completed' | 'failed' | 'retrying'
      /** The latest try. */
      attempt: number
      /** When the latest try began, ISO 8601. */
      startedAt?: string
      /** When the step ended, ISO 8601. */
      endedAt?: string
      /** The message of its last error. */
      error?: string
    }
  >
  /** What it waits for, oldest first. */
  awaits: Array<{
    /** The await. */
    awaitId: string
    /** The trigger that answers it. */
    triggerName: string
    /** The step that waits. */
    stepName?: string
    /** When it began to wait, ISO 8601. */
    since: string
    /** When it gives up, ISO 8601; absent if never. */
    deadline?: string
  }>
}

// ------------------------------------------------------------------ logs

/** A line of a run's log, with the envelope of the event that holds it. */
export interface LogEntry extends EventEnvelope {
  level: 'debug' | 'info' | 'warn' | 'error'
  message: string
  /** When it was logged, as ISO 8601. */
  timestamp: string
  metadata?: Record<string, unknown>
  /** The trace that it belongs to, where a step is traced: see {@link QueueConfig.telemetry}. Not in lines that are read from a run. */
  trace_id?: string
  /** The span, likewise. */
  span_id?: string
  /** The flags of the trace, likewise. */
  trace_flags?: string
}

/**
 * Logs of a run: into its stream, where each line is a `log.debug`, `log.info`, `log.warn` or `log.error` event, to a
 * logger outside, or both, as {@link LoggingConfig} says. A step gets one as `ctx.logger`.
 *
 * Nobody waits for a line: methods return at once, and lines stand in the timeline where they were logged, in order
 * with the changes of state around them. Logging never throws, whatever it is given. A line that can't be stored makes
 * {@link RunLogger.flush | flush()} fail, which a worker calls before it records that a step is done. What becomes of a
 * line outside matters to nobody who logs.
 *
 * Metadata may be anything. What JSON can't hold is replaced: errors by `{ name, message, stack, cause }`, a `BigInt`
 * by its digits, a `Map` by an object, a `Set` by an array, functions and circular references by a text in brackets.
 * It is cut at 8 levels and 64 KiB, a message at 32 KiB.
 *
 * @example
 * ```ts
 * ctx.logger.info('goal reached', { epoch: 12, accuracy: 0.93 })
 * ctx.logger.error('upload failed', { error })
 * const log = ctx.logger.child({ file: 'iris.csv' })
 * log.debug('read', { rows: 150 }) // metadata: { file: 'iris.csv', rows: 150 }
 * ```
 */
export class RunLogger {
  private constructor()

  /** Logs a line for developers. */
  debug(message: string, metadata?: Record<string, unknown> | Error): void
  /** Logs a line about normal work. */
  info(message: string, metadata?: Record<string, unknown> | Error): void
  /** Logs a line about something that may need attention. */
  warn(message: string, metadata?: Record<string, unknown> | Error): void
  /** Logs a line about a failure. An error, as `metadata` or as its `error`, keeps its stack. */
  error(message: string, metadata?: Record<string, unknown> | Error): void
  /** Logs a line of the given level. */
  log(level: LogEntry['level'], message: string, metadata?: Record<string, unknown> | Error): void

  /** A logger that adds `context` to the metadata of each line; the line's own metadata win. */
  child(context: Record<string, unknown>): RunLogger

  /**
   * Resolves when every line so far is stored in the run, those of children and parents included. Does not wait for a
   * logger outside.
   *
   * @throws The first failure since the last flush, as {@link EventStore.append} does.
   */
  flush(): Promise<void>
}

// ------------------------------------------------------------------ schemas

/**
 * A schema of zod, valibot, arktype or whatever else follows Standard Schema ({@link https://standardschema.dev}).
 *
 * @typeParam Input What it takes.
 * @typeParam Output What it makes of it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** What a {@link StandardSchema} says of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined
      }>
    }

/** What a schema makes of a value. */
export type SchemaOutput<S> = S extends StandardSchema<infer _Input, infer Output> ? Output : unknown

// ------------------------------------------------------------------ flows

/** How long a step rests before it is tried again. */
export interface Backoff {
  /** `'fixed'`: the same each time. `'exponential'` (default): twice as long each time. */
  type?: 'fixed' | 'exponential'
  /** The first pause: milliseconds, or text such as `'5s'`. Default: a second. */
  delay?: number | string
  /** The longest pause: milliseconds, or text such as `'10m'`. Default: a minute. */
  maxDelay?: number | string
}

/** A step of a {@link FlowDefinition}. */
export interface FlowStep {
  /** The queue whose workers run it. */
  queue: string
  /**
   * The events that it runs on, as steps emit them. It runs once a run, when all of them have come. Its input is the
   * payload of the event, or, for several, an object of their payloads by name.
   */
  subscribes?: string[]
  /** The events that it may emit. Default: any that a step of the flow subscribes to. */
  emits?: string[]
  /** The version of its code. */
  version?: string
  /** How often it is tried before the run fails, a whole number from 1. Default 1. */
  maxAttempts?: number
  /** How long it rests between two tries. */
  backoff?: Backoff
  /**
   * What its input has to be. Checked before its handler is called, which gets what the schema makes of it; an input
   * that doesn't fit fails the step for good.
   */
  schema?: StandardSchema
}

/**
 * What a flow consists of: steps, and the events that lead from one to the next.
 *
 * @example
 * ```ts
 * const flow: FlowDefinition = {
 *   name: 'train',
 *   entry: { step: 'fit', queue: 'ml' },
 *   steps: {
 *     fit: { queue: 'ml', emits: ['fitted'], maxAttempts: 3, backoff: { delay: '5s' } },
 *     report: { queue: 'mail', subscribes: ['fitted'] },
 *   },
 * }
 * ```
 */
export interface FlowDefinition {
  /** Its name, unlike that of any other flow. */
  name: string
  /**
   * The step that runs first, with what the run is started with as its input. `schema`: what that has to be; a start
   * with anything else is refused. More about the step may stand in `steps`.
   */
  entry: { step: string; queue: string; schema?: StandardSchema }
  /** Its steps by name. The entry may be left out if there is no more to say of it. */
  steps: Record<string, FlowStep>
  /**
   * Events that are emitted into its runs from outside, by {@link FlowEngine.emit}, beside those of its steps. A run does
   * not wait for them: it is complete when no step is queued, runs or awaits something.
   */
  accepts?: string[]
  /**
   * The triggers that start a run of it, with the payload as its input. `mode`: `'auto'` (default); `'manual'`: a person
   * starts the run ({@link TriggerEngine.pending}); or a function that says so for each firing.
   */
  triggers?: { subscribe: string[]; mode?: SubscriptionMode }
}

/** A step that is to be run, as a queue holds it. */
export interface StepJob {
  /** The queue. */
  queue: string
  /** The step. */
  name: string
  /** The same for the same work, so that handing it over twice makes no second job. */
  jobId: string
  /**
   * What it is about. `attempt` counts tries from 1. `traceparent` is the span that put it into the queue, where runs are
   * traced: see {@link QueueConfig.telemetry}.
   */
  data: { runId: string; flowName: string; input: unknown; attempt: number; traceparent?: string }
}

/** Options of {@link FlowEngine.start}. */
export interface StartOptions {
  /**
   * The id of the run. A second start with the same id begins no second run. Default: a random one.
   */
  runId?: string
  /** What started it, as {@link RunStatus.triggeredBy} tells it. */
  triggeredBy?: string
  /**
   * What it belongs together with, such as the id of a request or an order: see {@link FlowEngine.trace}. 1 to 512 bytes.
   * Default: the run's own id.
   */
  correlationId?: string
  /** The id of what led to it: an event, a firing, a message of yours. 1 to 512 bytes. */
  causationId?: string
  /**
   * The version of the code that the run is to run in, such as `'1.4.0'`; see {@link RegistryConfig.strategy}. Default: that
   * of this core ({@link RegistryConfig.version}), if it defines the flow. Where a step's definition names a version, that
   * holds for the step.
   */
  version?: string
}

/**
 * A part of a timeline. `steps`: the life of run and steps, and what they emit; `state`, `logs`, `triggers`: what is in
 * these families of events, awaits among the triggers.
 */
export type TimelinePart = 'steps' | 'state' | 'logs' | 'triggers'

/** Options of {@link FlowEngine.timeline} and {@link FlowEngine.trace}. */
export interface TimelineOptions {
  /** Only these parts. Default: everything, types of your own included. */
  include?: TimelinePart[]
}

/**
 * Starts runs of flows and tells how they stand, as `flows` of what {@link open} gives.
 *
 * All it knows of a run stands in the run's stream, the definition included that it was started with: every instance
 * comes to the same verdict, and a run that is under way stays with its definition when another is deployed.
 *
 * @example
 * ```ts
 * core.flows.define(flow)
 * const { runId } = await core.flows.start('train', { epochs: 40 })
 * (await core.flows.status(runId))?.status // 'running'
 * ```
 */
export class FlowEngine {
  private constructor()

  /**
   * Makes a flow known to this process. Every process that starts runs of it has to define it; a worker needs the
   * definition only for its schemas.
   *
   * @param options `replace`: take the place of another definition of this name. Without it, only the same definition
   * may be given again.
   * @throws `NQ_CONFIG` for a definition that can't work, and for another one of the same name; `NQ_VALIDATION` for a
   * malformed one.
   */
  define(flow: FlowDefinition, options?: { replace?: boolean }): void

  /**
   * Starts a run. It is recorded first and then handed to a worker, so it is under way even if the process ends.
   *
   * @param input JSON: what the entry step gets.
   * @returns When the run is recorded and its first step is in its queue.
   * @throws `NQ_NOT_FOUND` for a flow that is not defined here; `NQ_VALIDATION` for an input that the entry's schema
   * refuses, with every issue as `path: message`; `NQ_INVALID_EVENT` for one that JSON can't hold; `NQ_UNAVAILABLE` if
   * the store or the queue can't be reached (if only the queue, the run is recorded and begins later by itself).
   */
  start(flowName: string, input?: unknown, options?: StartOptions): Promise<{ runId: string }>

  /**
   * The events of a run, in order; none for an unknown one.
   *
   * @example
   * ```ts
   * const lines = await core.flows.timeline(runId, { include: ['steps', 'logs'] })
   * ```
   */
  timeline(runId: string, options?: TimelineOptions): Promise<EventRecord[]>

  /**
   * The runs that belong together: those that were started with this `correlationId`, and the run of this id. A step's
   * `ctx.flow.start` passes it on; all runs of one firing have its `fireId`. In the order of their beginning.
   */
  chain(correlationId: string): Promise<RunStatus[]>

  /**
   * The events of the runs of a {@link FlowEngine.chain | chain} in the order of time; within a run as in its timeline.
   * Holds in memory a page of events for each run that goes on at the time.
   *
   * @throws `NQ_VALIDATION` for malformed arguments, at once.
   * @example
   * ```ts
   * for await (const event of core.flows.trace('order-7')) console.log(event.timestamp, event.runId, event.type)
   * ```
   */
  trace(correlationId: string, options?: TimelineOptions): AsyncGenerator<EventRecord, void, undefined>

  /**
   * Emits an event into a run: steps that now have all that they subscribe to are queued, and awaits of the event are
   * answered.
   *
   * @param payload JSON.
   * @returns The jobs that were queued because of it.
   * @throws `NQ_NOT_FOUND` for an unknown run, `NQ_CONFLICT` for one that has ended, `NQ_VALIDATION` for an event that
   * its flow does not know, otherwise as {@link FlowEngine.start}.
   */
  emit(runId: string, name: string, payload?: unknown): Promise<StepJob[]>

  /**
   * Cancels a run. What it waits for is canceled, its handlers see it as `ctx.signal`, and what they do from now on
   * no longer counts.
   *
   * @returns `false` if it has ended already.
   * @throws `NQ_NOT_FOUND` for an unknown run.
   */
  cancel(runId: string, reason?: string): Promise<boolean>

  /** How a run stands, or `undefined` if it is unknown. */
  status(runId: string): Promise<RunStatus | undefined>

  /**
   * The runs of a flow, latest first.
   *
   * @param options `limit`: at most so many, from 1 on; default: all. `offset`: leave out so many; default 0.
   */
  runs(flowName: string, options?: { limit?: number; offset?: number }): Promise<RunStatus[]>

  /**
   * What a run is doing and what it waits for, in a few lines for people. Lines that begin with `!` say which steps nobody
   * takes, as far as the registry knows, and why.
   *
   * @throws `NQ_NOT_FOUND` for an unknown run.
   */
  explain(runId: string): Promise<string>
}

// ------------------------------------------------------------------ triggers and awaits

/**
 * The payloads of your triggers by name, for {@link TriggerEngine.emit}. Empty here; add yours:
 *
 * @example
 * ```ts
 * declare module 'nuxt-queue-core' {
 *   interface TriggerMap {
 *     'user.created': { userId: string; email: string }
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: users add to it
export interface TriggerMap {}

/** A name of {@link TriggerMap}, or any other. */
export type TriggerName = (keyof TriggerMap & string) | (string & {})

/** What a trigger of this name is fired with: `unknown` if {@link TriggerMap} does not say. */
export type TriggerPayload<N extends string> = N extends keyof TriggerMap ? TriggerMap[N] : unknown

/** The arguments of a firing behind the name: a payload that may be missing may be left out. */
export type FireArguments<N extends string, O> =
  undefined extends TriggerPayload<N>
    ? [payload?: TriggerPayload<N>, options?: O]
    : [payload: TriggerPayload<N>, options?: O]

/** What a flow makes of a firing: see {@link SubscriptionMode}. */
export type SubscriptionChoice = 'auto' | 'manual' | 'skip'

/**
 * What happens when a trigger fires that a flow subscribes to: `'auto'`: a run starts; `'manual'`: a person may start it;
 * or a function that says so, or `'skip'`, for each firing. A function is code: it decides where the trigger is fired.
 */
export type SubscriptionMode =
  | 'auto'
  | 'manual'
  | ((
      // biome-ignore lint/suspicious/noExplicitAny: payloads are anything
      payload: any,
      firing: { triggerName: string; flowName: string },
    ) => SubscriptionChoice | Promise<SubscriptionChoice>)

/** What the functions of a trigger are told beside the payload. */
export interface TriggerContext {
  /** The trigger. */
  triggerName: string
  /** The request, for a webhook: headers by lower-case name, without credentials. */
  headers?: Record<string, string>
  /** The parts of the path that the endpoint names, for a webhook. */
  params?: Record<string, string>
  /** What follows the path, by name, for a webhook; without credentials. */
  query?: Record<string, string>
}

/**
 * What starts runs and answers awaits. Everything but `schema`, functions and secrets is an event, known to all
 * instances; those stay in the process that registers it.
 *
 * @example
 * ```ts
 * await core.triggers.register({
 *   name: 'order.paid',
 *   type: 'webhook',
 *   endpoint: { path: '/webhooks/stripe', auth: { type: 'signature', provider: 'stripe', secretRef: 'STRIPE_SECRET' } },
 *   config: { rateLimit: { max: 100, window: '1m' } },
 * })
 * ```
 */
export interface TriggerDefinition {
  /** Its name, unlike that of any other; 1 to 255 bytes. */
  name: string
  /**
   * What fires it: `event`: {@link TriggerEngine.emit}; `webhook`: a request; `manual`: a person, through
   * {@link TriggerEngine.execute}; `schedule`: the time. All can be fired by {@link TriggerEngine.execute}.
   */
  type: 'event' | 'webhook' | 'schedule' | 'manual'
  /** `'flow'`: it starts runs. `'run'`: it answers awaits, and no flow can subscribe to it. Default: both. */
  scope?: 'flow' | 'run'
  /** A name for people. */
  displayName?: string
  /** What it is about, for people. */
  description?: string
  /** Where it comes from, for people. */
  source?: string
  /** For those who look for it. */
  tags?: string[]
  /** What its payload has to be. Anything else is refused, with every issue; what the schema makes of it goes on. */
  schema?: StandardSchema
  /** Makes another payload of it, behind `schema` and `config.filter`. What comes of it has to be JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: payloads are anything
  transform?: (payload: any, context: TriggerContext) => unknown
  /** Where the requests of a webhook arrive. */
  endpoint?: WebhookEndpoint
  /**
   * When a schedule fires. It fires wherever somebody is, so a schedule has no `schema`, `transform` or `config.filter`, nor
   * the members of `config` that are for what comes from outside.
   */
  schedule?: ScheduleOptions
  /** The payload of a schedule: JSON. Default `{ scheduledTime }`, the instant that it fires for. */
  data?: unknown
  /** How it is shown. `form`: the fields of a manual one, for a UI: `{ name, type?, label?, required?, … }`. */
  ui?: { icon?: string; color?: string; form?: FormField[] }
  /** What becomes of a firing. */
  config?: FiringConfig
}

/**
 * When a schedule fires. One of `cron`, `interval`, `at` and `every` says it; `at` goes with `every.days`, too. What can't work
 * is refused when the trigger is registered, by the name of the field.
 *
 * @example
 * ```ts
 * await core.triggers.register({
 *   name: 'nightly',
 *   type: 'schedule',
 *   schedule: { cron: '30 2 * * mon-fri', timezone: 'Europe/Berlin', overlap: 'skip', catchUp: 'last' },
 * })
 * ```
 */
export interface ScheduleOptions {
  /** Five fields as in crontab(5), six with seconds first, or a form such as `@daily`. Local time of the zone. */
  cron?: string
  /** Time that passes between two firings, such as `'90m'`; one second or more. Counted from `start`, or else from 1970. */
  interval?: string
  /** A time of day in the zone, `'02:00'` or `'02:00:30'`. Each day, unless `every` says otherwise. */
  at?: string
  /** Days of the calendar, or hours, minutes and seconds that pass. */
  every?: { days?: number; hours?: number; minutes?: number; seconds?: number }
  /** The IANA name of a time zone. Default `'UTC'`. */
  timezone?: string
  /** Whether it fires at all; see also {@link TriggerEngine.disable}. Default `true`. */
  enabled?: boolean
  /**
   * What a firing does while a run of an earlier firing goes on. Default: it starts its run, too. `'skip'`: it is left
   * out. `'queue'`: it waits for its turn; up to 100 wait. `'replace'`: it cancels that run.
   */
  overlap?: 'skip' | 'queue' | 'replace'
  /** A time of day that a change of the clocks skips fires right after the gap (default), or not at all. */
  gap?: 'after' | 'skip'
  /** A time of day that a change of the clocks repeats fires the first time (default), or both times. */
  dstOverlap?: 'first' | 'both'
  /**
   * What becomes of instants that were missed: nobody was there to fire until 5 minutes later, or longer. `'none'` (default):
   * they are left out. `'last'`: the last of them fires, unless the next is due anyway. `'all'`: they fire one after the
   * other, the last `catchUpLimit` of them.
   */
  catchUp?: 'none' | 'last' | 'all'
  /** How many missed instants fire at most with `catchUp: 'all'`, up to 10,000. Default 100. */
  catchUpLimit?: number
  /** Up to so many milliseconds a firing is put off, each by another delay; less than the period, and at most a day. */
  jitterMs?: number
  /** Nothing fires before: ISO 8601. Without an offset it is local time of the zone, a date alone its midnight. */
  start?: string
  /** Nothing fires after: as `start`. */
  end?: string
}

/** An instant of a schedule, as people read it. */
export interface ScheduledInstant {
  /** ISO 8601 in UTC. */
  at: string
  /** What the clocks of the zone show, with their offset from UTC: `2025-03-30T03:00:00+02:00`. */
  local: string
  /** `gap`: it stands for times of day that were skipped. `overlap`: its time of day exists twice. */
  note?: 'gap' | 'overlap'
}

/** A field of a form. A UI may know more members than these. */
export interface FormField {
  /** The member of the payload. If the trigger's schema can be read as JSON Schema, it has to be one of its properties. */
  name: string
  /** What it is, as the UI calls it. */
  type?: string
  /** For people. */
  label?: string
  /** Whether it has to be filled in. */
  required?: boolean
  /** What else the UI knows: JSON. */
  [member: string]: unknown
}

/** What becomes of a firing. */
export interface FiringConfig {
  /**
   * Whether payloads, and the bodies of requests, are part of the record. Default true. Without it a payload is only in
   * the runs that it starts and the awaits that it answers: nobody can retry it, and if the process dies in the middle of
   * a firing it fails, unless it is fired again with its `idempotencyKey` (as providers do with requests). With
   * `deduplicate`, a digest of the value at its `key` is kept.
   */
  persistData?: boolean
  /** How long firings are kept, in days. Default 30. An `idempotencyKey` is forgotten with its firing, and after 7 days. */
  retentionDays?: number
  /** At most `max` firings in any `window` (milliseconds or text such as `'1m'`), on all instances together. */
  rateLimit?: { max: number; window: number | string }
  /** Firings whose payloads have the same value at `key` (such as `'order.id'`) within `window` are one. */
  deduplicate?: { key: string; window: number | string }
  /** Only the last firing counts after which it was quiet for so long: milliseconds, or text. */
  debounce?: number | string
  /** Which payloads are meant, behind the schema. Others are recorded as skipped. */
  // biome-ignore lint/suspicious/noExplicitAny: payloads are anything
  filter?: (payload: any, context: TriggerContext) => boolean | Promise<boolean>
}

/** Where the requests of a webhook arrive, and which are taken. */
export interface WebhookEndpoint {
  /** The path of the URL, such as `'/webhooks/stripe'`; `:name` stands for any one segment. */
  path: string
  /** Default `'POST'`. With `'GET'` the query is the payload. */
  method?: string
  /** How requests are checked. Default: not at all, anybody may fire it. */
  auth?: WebhookAuth
  /** The largest body, in bytes. Default 1 MiB. */
  maxBodyBytes?: number
}

/**
 * How the requests of a webhook are checked, by their raw bytes and in constant time. Secrets appear in no event, log or
 * error.
 */
export interface WebhookAuth {
  /**
   * `signature`: an HMAC over the body, as `provider` or the other members say; `bearer`, `apikey`, `basic` (the secret is
   * `user:password`): credentials in the request; `ip`: the sender's address alone; `custom`: `verify`.
   */
  type: 'signature' | 'bearer' | 'apikey' | 'basic' | 'ip' | 'custom'
  /** Who signs it. `svix` is the same as `standard-webhooks`. */
  provider?: 'stripe' | 'github' | 'slack' | 'standard-webhooks' | 'svix' | 'shopify'
  /** The secret, or several of which any may fit, while one takes the place of another. Stays in this process. */
  secret?: string | string[]
  /**
   * The name of the secret, which each process resolves: by {@link TriggerConfig.resolveSecret}, or the environment
   * variable of this name.
   */
  secretRef?: string
  /** Of a signature of one's own, or an API key (default `x-api-key`): its header. */
  header?: string
  /** The query parameter of an API key, in place of a header. */
  query?: string
  /** Of a signature of one's own. Default `'sha256'`. */
  algorithm?: 'sha1' | 'sha256' | 'sha512'
  /** Of a signature of one's own. Default `'hex'`. */
  encoding?: 'hex' | 'base64'
  /** Of a signature of one's own: what stands before it, such as `'sha256='`. */
  prefix?: string
  /**
   * Of a signature of one's own: what is signed. Default `'{body}'`. Other parts are `{timestamp}`, `{id}`, `{method}` and
   * `{path}`. Without a timestamp or an id in it, a request that is sent again can't be told from another.
   */
  payload?: string
  /** Of a signature of one's own: the header of `{timestamp}`, in seconds since the Unix epoch. */
  timestampHeader?: string
  /**
   * The header that names a delivery: what comes again under it is answered, and fires nothing. Of a signature of one's own
   * only if the payload has `{id}`; otherwise it is only shown, as anybody could change it.
   */
  idHeader?: string
  /** How far a signed timestamp may be from now, both ways. Default 300. */
  toleranceSeconds?: number
  /** Addresses and CIDR ranges (IPv4, IPv6) that requests may come from, for `ip` and beside any other check. */
  allow?: string[]
  /**
   * How many proxies of your own stand before the server, each of which adds to `X-Forwarded-For`. Default 0: the address
   * is that of the connection.
   */
  trustedProxies?: number
  /** For `custom`: whether a request is genuine. What it throws counts as no. */
  verify?: (request: WebhookRequest) => boolean | Promise<boolean>
}

/** A trigger as it is registered. `schema` and functions only if this process has them; never a secret. */
export interface RegisteredTrigger extends TriggerDefinition {
  /** Whether it fires. */
  enabled: boolean
  /** The flows that subscribe to it; `function`: the flow's definition says each time. */
  subscribers: Array<{ flowName: string; mode: 'auto' | 'manual' | 'function' }>
}

/** One firing of a trigger. */
export interface Firing {
  /** Its id. */
  fireId: string
  /** The trigger. */
  triggerName: string
  /**
   * `processed`: every flow that subscribes has its run, and everyone who waited for it has it. `fired`: not yet; so stays
   * one that is debounced, or waits by `overlap: 'queue'`. `failed`: some flow has no run. `skipped`: it had no effect.
   */
  status: 'fired' | 'processed' | 'failed' | 'skipped'
  /** When it fired, ISO 8601. */
  timestamp: string
  /** Its payload, as schema and `transform` made it. */
  data?: unknown
  /** The runs that it started. */
  runs: Array<{ flowName: string; runId: string }>
  /** The runs that waited for it, by id; only in the answer to the call that fired it. */
  resumed: string[]
  /** The instant that a schedule fired for, ISO 8601. One `skipped` may stand for several: then it is the last of them. */
  scheduledTime?: string
  /** How much later than that it fired, in milliseconds. */
  delayMs?: number
  /** Who fired it by hand. */
  userId?: string
  /** Why it was skipped or failed. */
  reason?: string
  /** When a trigger with a rate limit can fire again, in milliseconds from now. */
  retryAfter?: number
}

/** Options of {@link TriggerEngine.emit}. */
export interface EmitTriggerOptions {
  /**
   * A second call with the same key fires nothing and gives the first firing; if that was left unfinished, it is
   * finished. Remembered for 7 days, or as long as the trigger's firings are kept.
   */
  idempotencyKey?: string
}

/** A run that a person may start. */
export interface PendingStart {
  /** The firing. */
  fireId: string
  /** The trigger. */
  triggerName: string
  /** The flow. */
  flowName: string
  /** Since when, ISO 8601. */
  since: string
}

/** A request that came to a webhook, and what was made of it. */
export interface Delivery {
  /** Its id in the ledger. */
  deliveryId: string
  /**
   * `accepted`: it fired the trigger. `repeated`: it had come before. `refused`: it is genuine, and could not fire.
   * `rejected`: it is not known to be genuine.
   */
  verdict: 'accepted' | 'repeated' | 'refused' | 'rejected'
  /** Why it was not accepted. The sender is not told. */
  reason?: string
  /** The status that the sender was answered with. */
  status: number
  /** The id that the provider gave it. */
  providerId?: string
  /** The firing, if there is one. */
  fireId?: string
  /** `'POST'`, … */
  method: string
  /** The path, without the query. */
  path: string
  /** What follows the path, by name, unless that may hold credentials. */
  query?: Record<string, string | string[]>
  /** What is needed to check it again; no credentials. */
  headers?: Record<string, string>
  /** The sender's address. */
  ip?: string
  /** How long the body was. */
  bytes: number
  /** The SHA-256 of the body, in hexadecimal digits. */
  sha256: string
  /** The body, if `config.persistData` is not false and it fits into an event. */
  body?: string
  /** The same in Base64, for a body that is not UTF-8. */
  bodyBase64?: string
  /** What tells it from others: what comes again under the same key fires nothing. */
  key?: string
  /** The delivery that was handled again: the first one, if it was so several times. */
  redeliveryOf?: string
  /** How many that were rejected before it are not on record, as there were too many. */
  unrecordedBefore?: number
}

/** A request over HTTP, whatever the server's framework. */
export interface WebhookRequest {
  /** `'POST'`, … */
  method: string
  /** The path of the URL. */
  path: string
  /** By name, in any case. */
  headers: Record<string, string | string[] | undefined>
  /** What follows the path, by name, if the path does not have it. */
  query?: Record<string, string | string[]>
  /** The bytes of the body, as they came. */
  body: Uint8Array
  /** The address of the sender. */
  ip?: string
}

/** The answer to a {@link WebhookRequest}. */
export interface WebhookResponse {
  /** The status code. */
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  /** JSON text. */
  body: string
}

/**
 * Registers and fires triggers and answers awaits, as `triggers` of what {@link open} gives.
 *
 * @example
 * ```ts
 * await core.triggers.register({ name: 'user.created', type: 'event' })
 * await core.triggers.subscribe('user.created', 'welcome')
 * const { runs } = await core.triggers.emit('user.created', { userId: '7' })
 *
 * const [pending] = await core.triggers.awaits(runId)
 * if (pending) await core.triggers.resolveAwait(runId, pending.awaitId, { approved: true })
 * ```
 */
export class TriggerEngine {
  private constructor()

  /**
   * Registers a trigger, or gives it another definition. Registering what is registered already records nothing, so do it
   * at each start. All instances hear of it.
   *
   * @throws `NQ_CONFIG` with everything that keeps it from working, `NQ_VALIDATION` for members of a wrong type.
   */
  register(definition: TriggerDefinition): Promise<void>

  /**
   * Replaces members of a trigger's definition, each as a whole; `null` removes one.
   *
   * @throws `NQ_NOT_FOUND` for an unknown trigger; otherwise as {@link TriggerEngine.register}.
   */
  update(
    name: string,
    changes: { [M in keyof Omit<TriggerDefinition, 'name'>]?: TriggerDefinition[M] | null },
  ): Promise<void>

  /**
   * Lets a trigger fire again. What a schedule would have done since it was disabled is recorded as `skipped`.
   *
   * @throws `NQ_NOT_FOUND` for an unknown trigger.
   */
  enable(name: string): Promise<void>

  /**
   * Keeps a trigger from firing, until it is enabled; so a schedule is paused. Whoever fires it gets a firing that is `skipped`; a webhook answers
   * 404.
   *
   * @throws `NQ_NOT_FOUND` for an unknown trigger.
   */
  disable(name: string): Promise<void>

  /** Removes a trigger and all subscriptions to it. What it fired stays on record. Whether it was there. */
  remove(name: string): Promise<boolean>

  /** A trigger, as far as this process has heard. */
  get(name: string): RegisteredTrigger | undefined

  /** All triggers, or those of a type, a scope or a tag, by name, as far as this process has heard. */
  list(filter?: {
    type?: TriggerDefinition['type']
    scope?: TriggerDefinition['scope']
    tag?: string
  }): RegisteredTrigger[]

  /**
   * Lets a flow run whenever a trigger fires; the trigger may be registered later. {@link FlowDefinition.triggers} does the
   * same for a flow's lifetime in the code.
   *
   * @param options `mode`: see {@link SubscriptionMode}; default `'auto'`.
   * @throws `NQ_NOT_FOUND` if the flow is defined nowhere; `NQ_VALIDATION` if the two don't go together.
   */
  subscribe(triggerName: string, flowName: string, options?: { mode?: SubscriptionMode }): Promise<void>

  /** Ends a subscription. Whether it was there. */
  unsubscribe(triggerName: string, flowName: string): Promise<boolean>

  /**
   * Fires a trigger by name: each flow that subscribes gets a run, exactly one, and every run that awaits the name, with
   * `ctx.flow.await` or `ctx.await.event`, gets the payload. A name that nobody registered only answers awaits.
   *
   * @param payload JSON.
   * @throws `NQ_INVALID_EVENT` for a payload that JSON can't hold, `NQ_VALIDATION` for one that the schema refuses;
   * `NQ_CONFIG` if the trigger has code that this process does not have; `NQ_UNAVAILABLE` if store or queue can't be
   * reached (if only the queue, the firing is recorded and takes effect later by itself).
   */
  emit<N extends TriggerName>(name: N, ...payload: FireArguments<N, EmitTriggerOptions>): Promise<Firing>

  /**
   * Fires a registered trigger by hand, of any type. A schedule without a payload gets its `data`.
   *
   * @param options `userId`: who does it, as part of the record.
   * @throws `NQ_NOT_FOUND` for an unknown trigger; otherwise as {@link TriggerEngine.emit}.
   */
  execute<N extends TriggerName>(
    name: N,
    ...payload: FireArguments<N, EmitTriggerOptions & { userId?: string }>
  ): Promise<Firing>

  /**
   * When a schedule would fire, with what is odd about it.
   *
   * @param options `from`: the first instant that counts; default: now. `count`: how many, up to 10,000; default 10.
   * @throws `NQ_VALIDATION` for a schedule that can't work, with everything that is wrong.
   * @example
   * ```ts
   * core.triggers.preview({ cron: '30 2 * * *', timezone: 'Europe/Berlin' }, { from: '2025-03-30', count: 1 })
   * // [{ at: '2025-03-30T01:00:00.000Z', local: '2025-03-30T03:00:00+02:00', note: 'gap' }]
   * ```
   */
  preview(schedule: ScheduleOptions, options?: { from?: Time; count?: number }): ScheduledInstant[]

  /**
   * The firings of a trigger, latest first, as far back as they are kept.
   *
   * @param options `limit`: at most so many, from 1 on; default: all. `status`: only those.
   */
  runs(name: string, options?: { limit?: number; status?: Firing['status'] }): Promise<Firing[]>

  /** How many firings of a trigger, or of all that are registered, are on record. */
  stats(name?: string): Promise<{ total: number; byStatus: Partial<Record<Firing['status'], number>> }>

  /**
   * Lets a firing that failed or was skipped have its effect after all, with its recorded payload.
   *
   * @throws `NQ_NOT_FOUND` for an unknown firing, `NQ_CONFLICT` for one that has had its effect, `NQ_VALIDATION` if its
   * payload is not kept.
   */
  retry(fireId: string): Promise<Firing>

  /** The runs that wait for a person to start them, oldest first. */
  pending(filter?: { triggerName?: string; flowName?: string }): Promise<PendingStart[]>

  /**
   * Starts a run that waits for a person. A second call starts no second run.
   *
   * @throws `NQ_NOT_FOUND` if no such run waits, or not any more.
   */
  start(fireId: string, flowName: string, options?: { userId?: string }): Promise<{ runId: string }>

  /**
   * Lets a run that waits for a person never start.
   *
   * @throws `NQ_NOT_FOUND` if no such run waits, or not any more.
   */
  dismiss(fireId: string, flowName: string, options?: { userId?: string; reason?: string }): Promise<void>

  /**
   * The requests that came to a webhook, latest first. Of those that are `rejected`, which anybody can send, only the
   * latest few hundred are kept.
   */
  deliveries(
    name: string,
    options?: { limit?: number; verdict?: Delivery['verdict'] },
  ): Promise<Array<Delivery & { timestamp: string }>>

  /**
   * Handles a recorded request once more, as of its arrival: after a mended secret, schema or `transform`. What has fired
   * already fires nothing, unless `again` is true.
   *
   * @returns As {@link TriggerEngine.handleWebhook}.
   * @throws `NQ_NOT_FOUND` for an unknown delivery; `NQ_VALIDATION` if its body is not kept, or it was rejected by
   * credentials, which are never kept.
   */
  redeliver(deliveryId: string, options?: { again?: boolean }): Promise<WebhookResponse>

  /**
   * What a run waits for, oldest first.
   *
   * @throws `NQ_NOT_FOUND` for an unknown run.
   */
  awaits(runId: string): Promise<RunStatus['awaits']>

  /**
   * Answers an await. If it has a filter or a schema, the step judges the answer, and goes on waiting if it doesn't
   * fit.
   *
   * @param data JSON: what the await gives its step.
   * @returns `false` if it was answered, timed out or canceled before.
   * @throws `NQ_NOT_FOUND` for an unknown run or await.
   */
  resolveAwait(runId: string, awaitId: string, data?: unknown): Promise<boolean>

  /**
   * Cancels an await: in its step it throws `NQ_CANCELED`.
   *
   * @param reason Part of the error's message.
   * @returns `false` if it was answered, timed out or canceled before.
   * @throws `NQ_NOT_FOUND` for an unknown run or await.
   */
  cancelAwait(runId: string, awaitId: string, reason?: string): Promise<boolean>

  /**
   * Answers a request to a webhook, or to a URL from {@link WorkerContext.await | ctx.await.getWebhookUrl()}. It never rejects
   * because of what a sender sends, and never says what was wrong with credentials: that stands in the ledger
   * ({@link TriggerEngine.deliveries}).
   *
   * | status | when |
   * |---|---|
   * | 200 | it has fired (`accepted`), came before (`repeated`) or is not meant (`skipped`); the await has its answer, or its step judges it |
   * | 400 | the body can't be read, or the schema refuses it |
   * | 401 | it is not known to be genuine |
   * | 404 | there is no such webhook, or it is disabled; the token of an await is not one of ours |
   * | 405 | the method is another |
   * | 409 | the await was answered before, or is no longer waited for |
   * | 410 | the run of the await has ended, or is gone |
   * | 413 | the body is too large |
   * | 414 | path and query have more than 64 KiB |
   * | 415 | the body is neither JSON nor a form nor text |
   * | 429 | the rate limit; `retry-after` says how many seconds |
   * | 503 | this process does not know the secret or the code of the webhook, or the step does not await yet: send it again |
   *
   * @throws `NQ_CONFIG` without a secret for URLs of awaits (see {@link TriggerConfig.secret}), `NQ_VALIDATION` for a
   * malformed request object, `NQ_UNAVAILABLE` if the store can't be reached.
   */
  handleWebhook(request: WebhookRequest): Promise<WebhookResponse>
}

/** Options that all awaits of an answer have. */
export interface AwaitTimeout {
  /** How long to wait: milliseconds, or text such as `'24h'`, `'7d'`, `'2w'`. Any length works. Default: for ever. */
  timeout?: number | string
  /** After that: `'throw'` (default) an error of code `NQ_TIMEOUT`, or `'resume'` with `undefined`. */
  onTimeout?: 'throw' | 'resume'
}

/** Options of `ctx.flow.await`. */
export interface AwaitOptions extends AwaitTimeout {
  /** For those who list what a run waits for: what is to be approved, for one. JSON. */
  data?: unknown
  /**
   * What the answer has to be. An answer that doesn't fit is recorded as skipped, with every issue, and the step goes
   * on waiting. It gets what the schema makes of the answer, as JSON gives it back.
   */
  schema?: unknown
  /** Which answers are meant, before `schema`. What it throws fails the step. */
  // biome-ignore lint/suspicious/noExplicitAny: anyone may answer with anything
  filter?: (payload: any) => boolean | Promise<boolean>
  /** Take an answer that came before, from this point on. Default: since the run began. */
  since?: Point
}

/** Options of `ctx.await.event`. */
export interface EventAwaitOptions extends Omit<AwaitOptions, 'data'> {
  /** The event, as `ctx.flow.emit` or {@link FlowEngine.emit} name it. */
  type: string
}

/** Options of `ctx.await.webhook`. */
export interface WebhookAwaitOptions extends AwaitTimeout {
  /** A name for those who list what a run waits for. It does not change the URL. */
  path?: string
  /** As {@link AwaitOptions.schema}. */
  schema?: unknown
}

/** Options of an await without a schema that may go on with `undefined`. */
type ResumeOptions = { onTimeout: 'resume'; schema?: undefined }

/** What an await with the options `O` gives: by its schema if it has one, else `T`; maybe `undefined` if it goes on after a timeout. */
export type AwaitResult<T, O> =
  | (O extends { schema: StandardSchema<infer _Input, infer Output> } ? Output : T)
  | (O extends { onTimeout: 'resume' } ? undefined : never)

/**
 * What the handler of a step is given beside its input.
 *
 * **Awaits.** A step that awaits holds no worker: after `suspendAfter` its job ends, and when the answer comes the
 * handler is called again, from its beginning, maybe in another process. The same happens after a crash and after a
 * deployment. Awaits that have their answer give it again at once, so the handler comes to where it was. For this it has
 * to begin the same awaits in the same order each time: what decides about them should come from its input, its state,
 * or earlier answers. If it doesn't, the step fails with `NQ_NONDETERMINISTIC`. What it does before an await may be
 * done again. Log lines and values set in the state are not recorded twice; anything else should be harmless to repeat,
 * or be a step of its own.
 *
 * @typeParam S The run's state, key by key.
 * @example
 * ```ts
 * const approve: StepHandler<{ amount: number }> = async (input, ctx) => {
 *   ctx.logger.info('asking for approval', { amount: input.amount })
 *   const answer = await ctx.flow.await('manager.approval', {
 *     timeout: '24h',
 *     data: { amount: input.amount },
 *     schema: z.object({ approved: z.boolean() }),
 *   })
 *   await ctx.state.set('approved', answer.approved)
 *   if (answer.approved) await ctx.flow.emit('approved', { amount: input.amount })
 * }
 * ```
 */
export interface WorkerContext<S extends object = Record<string, unknown>> {
  /** The run. */
  runId: string
  /** The run, by the name that the original module has for it. */
  flowId: string
  /** Its flow. */
  flowName: string
  /** The step. */
  stepName: string
  /** This try of the step. */
  stepId: string
  /** Which try it is, from 1. */
  attempt: number
  /** The job. */
  jobId: string
  /** The queue. */
  queue: string
  /**
   * What the run belongs together with. Runs that the step starts by {@link WorkerContext.flow} have it, too; give it to
   * whatever else you start or call.
   */
  correlationId: string
  /** The state of the run. In an execution that repeats an earlier one, setting what is set already leaves no event. */
  state: RunState<S>
  /** The log of the run. */
  logger: RunLogger
  /**
   * Aborted when what the handler does no longer counts, with a {@link NuxtQueueError} as its reason: the run was
   * canceled or has failed (`NQ_CANCELED`), the step was suspended (`NQ_SUSPENDED`), the worker waits no longer for the
   * handler to end (`NQ_CLOSED`).
   */
  signal: AbortSignal
  /** The run and its events. */
  flow: {
    /**
     * Emits an event to the steps and awaits of the run that wait for it. In an execution that repeats an earlier one,
     * the n-th emit of a name is the same event as before.
     *
     * @throws `NQ_VALIDATION` for an event that the step may not emit.
     */
    emit(name: string, payload?: unknown): Promise<void>
    /**
     * Starts a run of a flow, as {@link FlowEngine.start} does, that belongs together with this one: it has its
     * `correlationId`, and the `stepId` as its `causationId`. It goes its own way; nobody waits for it. The n-th start of
     * a flow by a step is the same run in each execution of the step, also in another try.
     */
    start(flowName: string, input?: unknown, options?: StartOptions): Promise<{ runId: string }>
    /**
     * Waits until the trigger `name` fires, or somebody answers this await.
     *
     * @throws `NQ_TIMEOUT` if the time is over, `NQ_CANCELED` if the await or the run was canceled.
     */
    // biome-ignore lint/suspicious/noExplicitAny: anyone may answer with anything
    await<T = any>(name: string, options: AwaitOptions & ResumeOptions): Promise<T | undefined>
    // biome-ignore lint/suspicious/noExplicitAny: anyone may answer with anything
    await<T = any, const O extends AwaitOptions = AwaitOptions>(name: string, options?: O): Promise<AwaitResult<T, O>>
  }
  /** Other things to wait for. All throw `NQ_CANCELED` if the await or the run was canceled. */
  await: {
    /** Waits for a while: milliseconds, or text such as `'90m'`. */
    time(duration: number | string): Promise<void>
    /** Waits until an instant: a `Date`, or ISO 8601 text as in {@link Query.startTime}. One that has passed is fine. */
    until(date: Date | string): Promise<void>
    /** Waits for an event that a step emits, or {@link FlowEngine.emit}. */
    // biome-ignore lint/suspicious/noExplicitAny: a step may emit anything
    event<T = any>(options: EventAwaitOptions & ResumeOptions): Promise<T | undefined>
    // biome-ignore lint/suspicious/noExplicitAny: a step may emit anything
    event<T = any, const O extends EventAwaitOptions = EventAwaitOptions>(options: O): Promise<AwaitResult<T, O>>
    /** Waits until somebody sends JSON to the URL of {@link getWebhookUrl}. */
    // biome-ignore lint/suspicious/noExplicitAny: anyone may send anything
    webhook<T = any>(options: WebhookAwaitOptions & ResumeOptions): Promise<T | undefined>
    // biome-ignore lint/suspicious/noExplicitAny: anyone may send anything
    webhook<T = any, const O extends WebhookAwaitOptions = WebhookAwaitOptions>(options?: O): Promise<AwaitResult<T, O>>
    /**
     * The URL of the next `webhook()` of this step: `{baseUrl}/api/_triggers/await/{token}`. Ask for it before you wait.
     * Nobody can guess it, and who has it can answer once.
     *
     * @throws `NQ_CONFIG` on Redis without a secret (see {@link TriggerConfig.secret}).
     */
    getWebhookUrl(): string
  }
}

/**
 * Does the work of a step. What it returns is the step's result, as JSON.
 *
 * If it throws, the step is tried again as its flow says (`maxAttempts`, `backoff`), then the run fails. An error named
 * `UnrecoverableError`, or with `retryable: false`, fails it at once.
 *
 * @typeParam Input What the step works on.
 * @typeParam S The run's state, key by key.
 */
// biome-ignore lint/suspicious/noExplicitAny: handlers of one worker take what each of them takes
export type StepHandler<Input = any, S extends object = any> = (input: Input, ctx: WorkerContext<S>) => unknown

// ------------------------------------------------------------------ registry

/** What an instance is up to; see {@link WorkerRegistry}. */
export type InstanceState = 'starting' | 'healthy' | 'draining' | 'dead' | 'left'

/** An instance, as {@link WorkerRegistry.listInstances} shows it. */
export interface InstanceInfo {
  /** Its id. */
  instanceId: string
  /** What it is up to. */
  state: InstanceState
  /** When it was started, ISO 8601, by the store's clock. */
  startedAt: string
  /** Its last sign of life, ISO 8601, by the store's clock. */
  lastSeen: string
  /** The queues that its workers take jobs from, sorted. */
  queues: string[]
  /** The version of its code, if it has one. */
  version?: string
  /**
   * Present if its event loop was blocked at its last sign of life: for how long it had not run then, in milliseconds.
   * Such an instance is alive, and its handlers, timers and requests wait.
   */
  blockedMs?: number
}

/** A step that a worker runs. */
export interface WorkerStep {
  /** The flow. */
  flowName: string
  /** The step. */
  stepName: string
  /** The queue that its jobs come from. */
  queue: string
  /** Whether the flow begins with it. */
  role: 'entry' | 'step'
  /** The events that it runs on. */
  subscribes?: string[]
  /** What it may emit; left out: anything. */
  emits?: string[]
  /** The version of its code. */
  version?: string
}

/** A step, as it is registered. */
export interface StepRegistration extends WorkerStep {
  /** The worker that runs it. */
  workerId: string
}

/** A worker, as {@link WorkerRegistry.listWorkers} shows it. */
export interface WorkerInfo {
  /** Its id. */
  workerId: string
  /** Its instance. */
  instanceId: string
  /** What its instance is up to. */
  state: InstanceState
  /** The queue that it takes jobs from. */
  queue: string
  /** The flows that it works for, as far as it said, sorted. */
  flows: string[]
  /** The steps that it registered. */
  steps: WorkerStep[]
}

/** A step of a {@link RegisteredFlow}. */
export interface RegisteredStep {
  /** Its queue. */
  queue: string
  /** Whether the flow begins with it. */
  role: 'entry' | 'step'
  /** The events that it runs on. */
  subscribes: string[]
  /** What it may emit; left out: anything. */
  emits?: string[]
  /** The version that was chosen; left out: one without a version. */
  version?: string
  /** A worker that runs it in this version, of a healthy instance if there is one. */
  workerId: string
  /** The instance of that worker. */
  instanceId: string
  /** All instances that run it in this version, sorted. */
  instances: string[]
  /** All versions in which it is offered, the newest first. */
  versions: string[]
}

/** A flow, put together from the steps that instances offer. */
export interface RegisteredFlow {
  /** Where it begins; left out if no instance has registered that. */
  entry?: { step: string; queue: string; workerId: string; instanceId: string; version?: string }
  /** Its steps by name. */
  steps: Record<string, RegisteredStep>
  /** All versions in which its steps are offered, the newest first. */
  versions: string[]
  /** The instances that run these steps, sorted. A dead one is among them only where nobody else offers a step. */
  instances: string[]
  /** Whether all of these instances are healthy. */
  allHealthy: boolean
}

/** Which versions of a flow's steps are asked for. */
export interface FlowChoice {
  /** A semantic version, such as `'1.4.0'`. Default: the newest. */
  version?: string
  /**
   * - `'strict'`: each step in exactly this version; steps that nobody offers in it are left out.
   * - `'latest'` (default): each step in its newest version, of those that are compatible with `version` if it is given.
   * - `'mixed'`: each step in `version`, or in its newest where nobody offers that.
   */
  strategy?: 'strict' | 'latest' | 'mixed'
}

/**
 * Which instances there are, what they offer, and whether they are alive: folded from the stream `{prefix}:registry`,
 * which all instances write, so that all of them give the same answers.
 *
 * - A core registers itself when it is opened, {@link QueueCore.worker} its worker with its steps, and a worker that is
 *   closed takes that back. None of this is waited for by those who work, and none of it can stop them.
 * - **States.** `starting` until the first sign of life, `healthy`, `draining` after {@link WorkerRegistry.drain}, `dead`
 *   when it was silent for longer than its `heartbeatTimeout`, `left` after `close()`. Those that are dead or have left
 *   are forgotten after an hour.
 * - Signs of life come from a thread of their own: an event loop that is blocked does not look dead, and
 *   {@link InstanceInfo.blockedMs} tells of it.
 * - Silence is judged by the store's clock. The clocks of the instances don't matter.
 *
 * @example
 * ```ts
 * await core.registry.waitForFlowReady('order', 30_000)
 * await core.flows.start('order', { items: 3 })
 * ```
 */
export class WorkerRegistry {
  private constructor()

  /** The id of this instance. */
  readonly instanceId: string

  /**
   * Registers a step of a worker that is not one of {@link QueueCore.worker}, for example of another program that this
   * process speaks for. Nothing is recorded if it is registered like this. It stays until `close()`.
   *
   * @throws `NQ_VALIDATION` for malformed arguments; `NQ_CONFLICT` if a living instance has registered the step in the
   * same version with another queue, role, `subscribes` or `emits`; `NQ_UNAVAILABLE` if it could not be recorded now,
   * which the next sign of life makes up for.
   */
  registerStep(step: StepRegistration): Promise<void>

  /**
   * The same for a worker as such.
   *
   * @throws As {@link WorkerRegistry.registerStep}.
   */
  registerWorker(worker: { workerId: string; queue: string; flows?: string[] }): Promise<void>

  /**
   * A flow as its steps are offered; `null` if nobody offers any in such a version.
   *
   * @throws `NQ_VALIDATION` for malformed arguments.
   * @example
   * ```ts
   * const flow = await core.registry.getFlow('order', { version: '1.4.0', strategy: 'strict' })
   * if (!flow?.allHealthy) console.warn('not all of', flow?.instances, 'are healthy')
   * ```
   */
  getFlow(name: string, options?: FlowChoice): Promise<RegisteredFlow | null>

  /** The ids of the healthy instances that take jobs from a queue, sorted. */
  getQueueHandlers(queue: string): Promise<string[]>

  /** The ids of the healthy instances, sorted. */
  getHealthyInstances(): Promise<string[]>

  /**
   * Waits until the entry of a flow is registered, and each of its steps is taken by a healthy instance. What its steps
   * are says the definition, if it is defined here, and otherwise the registry. Woken by what others register.
   *
   * @param timeoutMs Milliseconds, or text. Default: 30 seconds.
   * @throws `NQ_TIMEOUT`, with what is missing.
   */
  waitForFlowReady(name: string, timeoutMs?: number | string): Promise<RegisteredFlow>

  /** All instances that are remembered, by id. */
  listInstances(): Promise<InstanceInfo[]>

  /** The workers of these, by instance and id. */
  listWorkers(): Promise<WorkerInfo[]>

  /**
   * Takes no new steps from now on, in none of the workers of this core, and says so to others. Handlers that wait in an
   * await are suspended.
   *
   * @returns When the handlers that run have ended, however long that takes. Close the core then.
   * @example
   * ```ts
   * process.once('SIGTERM', async () => {
   *   await core.registry.drain()
   *   await core.close()
   * })
   * ```
   */
  drain(): Promise<void>
}

// ------------------------------------------------------------------ HTTP servers

/** Options of {@link toNodeHandler} and {@link toH3Handler}. */
export interface HttpHandlerOptions {
  /**
   * How many bytes of a body are read at most; whoever sends more is answered with 413. Default: 1048576 (1 MiB), which
   * is also the most that the URL of an await takes.
   */
  maxBodyBytes?: number
}

/** What is needed of an `IncomingMessage` of `node:http`, or of what Express and Connect make of it. */
export interface NodeHttpRequest {
  method?: string | undefined
  url?: string | undefined
  headers: Record<string, string | string[] | undefined>
  rawHeaders: string[]
}

/** What is needed of a `ServerResponse` of `node:http`. */
export interface NodeHttpResponse {
  headersSent: boolean
  writeHead(status: number, headers?: Record<string, string | number>): unknown
  end(body: string): unknown
}

/**
 * A handler for servers on Node's own requests: `node:http`, Express, Connect, the raw request of Fastify. It reads the
 * bytes of the body as they were sent, which signatures are made of, and passes them to
 * {@link TriggerEngine.handleWebhook}.
 *
 * - **Before the body parser.** A body that was parsed before has no raw bytes any more: it is answered with 500, and a
 *   warning of the process says once what to do. Where a parser or a platform keeps the bytes they are taken from
 *   `rawBody`, or from `body` if that is bytes or text (base64 if `isBase64Encoded` is true).
 * - **Bounded.** A body over {@link HttpHandlerOptions.maxBodyBytes} is refused as soon as that is known, and its
 *   connection closed. No more than these bytes are ever held for a request.
 * - **Senders can try again.** If the store can't be reached the answer is 503 with `retry-after`, for every other
 *   failure 500. Neither says why; a warning of the process does.
 *
 * The promise never rejects.
 *
 * Where a function gets the request as data, such as AWS Lambda, call `handleWebhook` yourself, with bytes as the body:
 * `Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8')`.
 *
 * @param triggers `core.triggers`, or anything with its `handleWebhook`.
 * @throws `NQ_VALIDATION` for malformed options.
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 *
 * createServer(toNodeHandler(core.triggers)).listen(3000)
 * ```
 * @example
 * ```ts
 * const app = express()
 * app.use('/api/_triggers', toNodeHandler(core.triggers))
 * app.use(express.json()) // behind it
 * ```
 */
export function toNodeHandler(
  triggers: Pick<TriggerEngine, 'handleWebhook'>,
  options?: HttpHandlerOptions,
): (request: NodeHttpRequest, response: NodeHttpResponse) => Promise<void>

/**
 * A handler of events of h3, version 1 from 1.8 on or version 2, and so for Nuxt and Nitro. What is said of
 * {@link toNodeHandler} holds here, too. If `readBody` or `readRawBody` of h3 1 was called before, the bytes that it
 * kept are taken; version 2 keeps none.
 *
 * The sender's address is what the platform says (`clientAddress`, `ip`), or that of the socket.
 *
 * @param triggers `core.triggers`, or anything with its `handleWebhook`.
 * @throws `NQ_VALIDATION` for malformed options.
 * @example
 * ```ts
 * // server/routes/webhooks/[...].ts, with `triggers: { baseUrl: 'https://example.com/webhooks' }`
 * export default toH3Handler(core.triggers)
 * ```
 * @example
 * ```ts
 * // server/routes/webhooks/[...].ts, with a core that is opened at the first request
 * export default toH3Handler({
 *   handleWebhook: async (request) => (await useCore()).triggers.handleWebhook(request),
 * })
 * ```
 */
export function toH3Handler(
  triggers: Pick<TriggerEngine, 'handleWebhook'>,
  options?: HttpHandlerOptions,
): (event: object) => Promise<Response>

// ------------------------------------------------------------------ everything wired

/** Configuration of {@link open}, of the same shape as the key `queue` of a Nuxt configuration. */
export interface QueueConfig {
  /** Where events live. Default: in memory. */
  eventStore?: StoreOptions
  /** How flows run. */
  flows?: FlowConfig
  /** Triggers and awaits. */
  triggers?: TriggerConfig
  /** The queues of steps. */
  jobs?: JobConfig
  /** Logs of runs. */
  logging?: LoggingConfig
  /** This process among others. */
  registry?: RegistryConfig
  /** Where the state of runs is that handlers see as `ctx.state`. */
  state?: StateConfig
  /**
   * Whether runs and steps are traced and measured by OpenTelemetry, where `@opentelemetry/api` is installed and an SDK is
   * registered before the core is opened. Default `true`.
   */
  telemetry?: boolean
  /** The clock of everything: deadlines, back-offs, and that of the store. Default: the system's. */
  clock?: VirtualClock
}

/** Where the state of runs is: for those who come from the original nuxt-queue, see `docs/migration.md`. */
export interface StateConfig {
  /**
   * - `'eventStore'` (default): in events of the run's stream.
   * - `'dual'`: in events and in the original's keys; the later word counts.
   * - `'redis'`: in the original's keys. Then `at`, `history` and `diff` know nothing of it.
   *
   * The last two need a store on Redis, and `ioredis`; `snapshot` is refused with them.
   */
  provider?: 'eventStore' | 'redis' | 'dual'
}

/** How flows run. */
export interface FlowConfig {
  /**
   * How long a step may wait before its job ends and its handler is given up, to be called again when the answer comes:
   * milliseconds, or text. Default `'30s'`. Any call of the context begins it anew. Timers and requests of the handler's
   * own are not seen: a handler should not have them running while it awaits.
   */
  suspendAfter?: number | string
}

/** Triggers and awaits. */
export interface TriggerConfig {
  /** Accepted, without effect in this version: triggers are always there. */
  enabled?: boolean
  /** What URLs for others begin with, such as `'https://app.example.com'`. Default: nothing, they begin with their path. */
  baseUrl?: string
  /**
   * Signs the URLs of awaits, so that nobody can make one up. The same for all instances; a long random text. Default:
   * the environment variable `NUXT_QUEUE_SECRET`; in memory without that, something random. It appears in no event, log
   * or error. With another secret, URLs that were given out before no longer work.
   */
  secret?: string
  /**
   * Finds the secret of a webhook by its name ({@link WebhookAuth.secretRef}), or several, of which any may fit. Asked for
   * each request. Default: the environment variable of this name.
   */
  resolveSecret?: (name: string) => string | string[] | undefined | Promise<string | string[] | undefined>
}

/** The queues of steps. */
export interface JobConfig {
  /** On Redis: what the names of BullMQ's keys begin with. Default: BullMQ's own, `'bull'`. */
  prefix?: string
  /**
   * On Redis: how long a worker may give no sign of life before its steps are run by another: milliseconds, or text.
   * Default `'30s'`. A handler that keeps Node's thread for longer than that counts as gone, too.
   */
  stallTimeout?: number | string
}

/**
 * Where the lines of {@link RunLogger} go, and which.
 *
 * @example
 * ```ts
 * await open({ logging: { routing: 'both', level: 'debug', external: { level: 'info', adapter: pino() } } })
 * ```
 */
export interface LoggingConfig {
  /**
   * - `'internal'` (default): into the stream of the run, as events. {@link Logs} finds them.
   * - `'external'`: to {@link ExternalLogConfig.adapter}, and not into the run.
   * - `'both'`.
   * - `'console'`: as `'external'`, with the adapter `'console'`.
   */
  routing?: 'internal' | 'external' | 'both' | 'console'
  /** The least urgent level that is logged. Default `'debug'`. */
  level?: LogEntry['level']
  /** The logger outside. Without effect with the routing `'internal'`. */
  external?: ExternalLogConfig
  /** Which runs are logged in full. Default: all. */
  sampling?: LogSampling
}

/** The logger outside. */
export interface ExternalLogConfig {
  /** The least urgent level that goes there. Default: {@link LoggingConfig.level}. */
  level?: LogEntry['level']
  /**
   * Who takes the lines. Default `'console'`.
   *
   * - `'console'`: `console.debug`, `info`, `warn` and `error`, with colours on a terminal that has them (and none with
   *   `NO_COLOR`), otherwise a line of JSON for each entry.
   * - An instance of pino: `logger.info({ runId, stepName, …, metadata }, message)`.
   * - An instance of consola, or whatever else has the four methods: `logger.info(message, { runId, …, metadata })`.
   * - A function. It may return a promise: up to 64 lines are then under way, and up to 8 MiB of text wait; more than
   *   that is dropped and counted ({@link Logs.stats}). An answer is waited for for 10 seconds.
   *
   * It may throw, reject, or never answer: that harms no step, and no line in the run. The first failure, and the first
   * line that is dropped, is a warning of the process. The entries are copies.
   */
  adapter?: 'console' | ((entry: LogEntry) => unknown) | PinoLike | ExternalLogger
  /** For the adapter `'console'`: for people, or JSON. Default: for people on a terminal. */
  format?: 'pretty' | 'json'
}

/** What is needed of an instance of pino. */
export interface PinoLike extends Record<LogEntry['level'], (fields: object, message?: string) => unknown> {
  bindings(): unknown
  isLevelEnabled(level: string): boolean
}

/** What is needed of an instance of consola, and of any other logger but pino. */
export interface ExternalLogger
  extends Record<LogEntry['level'], (message: string, fields: Record<string, unknown>) => unknown> {}

/**
 * Which runs are logged in full. Runs that belong together (by their `correlationId`) are logged, or not, together, and
 * always so: in each process, and in an execution that repeats an earlier one.
 */
export interface LogSampling {
  /** The share of them, from 0 to 1. */
  rate: number
  /** The levels that are logged of the other runs, too. Default `['warn', 'error']`. */
  alwaysLog?: string[]
}

/** This process among others. */
export interface RegistryConfig {
  /**
   * The name of this process in events, unlike that of any other that runs at the same time. Default: the host's name and
   * something random, another one for each start.
   */
  instanceId?: string
  /** The version of the code, such as `'1.4.0'`: that of each step whose definition names none. Default: none. */
  version?: string
  /**
   * Which runs the workers of this process take. A run, and each of its steps, is for the version that it was started
   * with ({@link StartOptions.version}).
   *
   * - `'strict'`: only those of the very same version.
   * - `'latest'` (default): those of a compatible version: by the rules of semantic versions, the first number that is not
   *   0 is the same, and neither is a pre-release. Where one of the two has no version, nothing is promised, and it is taken.
   * - `'mixed'`: all.
   *
   * What this process does not take is left to others.
   */
  strategy?: 'strict' | 'latest' | 'mixed'
  /**
   * The time between two signs of life: milliseconds, or text. Default: 10 seconds, or a third of a shorter
   * `heartbeatTimeout`. In memory there are none unless this or `heartbeatTimeout` is set, as nobody else could see them.
   */
  heartbeatInterval?: number | string
  /**
   * How long this process may be silent before it counts as dead: milliseconds, or text; longer than
   * `heartbeatInterval`. Others are told. Default: three times `heartbeatInterval`.
   */
  heartbeatTimeout?: number | string
}

/** Options of {@link QueueCore.worker}. */
export interface WorkerOptions {
  /**
   * How many handlers work at the same time, from 1 on. Default 10. In memory and in a directory, one that waits in an await
   * makes room for another; on Redis it does so when it is suspended.
   */
  concurrency?: number
  /** The process, in events. Default: that of the core. */
  instanceId?: string
  /** The worker, in events. Default: the instance's name and something random. */
  workerId?: string
  /** As {@link FlowConfig.suspendAfter}, for this worker. */
  suspendAfter?: number | string
  /**
   * How long `close()` waits for handlers: milliseconds, or text. Default `'30s'`. Then `ctx.signal` is aborted, and a
   * second later their jobs are given back, to be run by others.
   */
  closeTimeout?: number | string
}

/** A worker of a queue. While one is open, Node stays alive. */
export interface Worker {
  /**
   * Takes no new job, suspends handlers that wait in an await, and resolves when the others have ended. A second call
   * resolves with the first.
   */
  close(): Promise<void>
}

/** Which lines to find. What is left out does not matter: without anything, all lines of all runs. */
export interface LogQuery {
  /** Only lines of this run. */
  runId?: string
  /** Only lines of runs of this flow. */
  flowName?: string
  /** Only lines of runs that belong together (see {@link FlowEngine.chain}). */
  correlationId?: string
  /** Only these levels: `'debug'`, `'info'`, `'warn'`, `'error'`. Default: all. */
  level?: string | string[]
  /** Only lines of this step. */
  stepName?: string
  /** Only lines of this process. */
  instanceId?: string
  /** Only lines of this try of a step. */
  attempt?: number
  /** Only lines with this text in their message or, as JSON, in their metadata. Upper and lower case are the same. */
  contains?: string
  /** Only lines of this instant or later. */
  startTime?: Time
  /** Only lines of this instant or earlier. */
  endTime?: Time
  /** At most so many, from 1 on. Default: all. */
  limit?: number
  /** `'asc'`: oldest first (default). `'desc'`: newest first, so that `limit` keeps the newest. */
  order?: 'asc' | 'desc'
}

/** What became of the lines for the logger outside, since the core was opened. */
export interface ExternalLogStats {
  /** Lines that it took. */
  written: number
  /** Lines that it threw or rejected, or was silent about for too long. */
  failed: number
  /** Lines that it never got, as too many waited already, or as it logged by itself what it was given. */
  dropped: number
  /** Lines that wait, or that it is busy with. */
  waiting: number
}

/** What became of lines. */
export interface LogStats {
  external: ExternalLogStats
}

/**
 * The logs of runs, as far as they were recorded in them (see {@link LoggingConfig.routing}). Reads what the original
 * module wrote, too.
 *
 * The lines of a flow are found by the index of its runs, those of a chain by that of {@link FlowEngine.chain}. Without
 * `runId`, `flowName` and `correlationId` every run is looked at that was written to since `startTime`.
 *
 * @example
 * ```ts
 * const latest = await core.logs.query({ flowName: 'train', level: 'error', order: 'desc', limit: 20 })
 * for await (const line of core.logs.iterate({ startTime: '2025-11-05' })) console.log(line.runId, line.message)
 * ```
 */
export interface Logs {
  /**
   * Lines in the order of time, also those of several runs: within a run as they stand in its timeline. Holds in memory
   * what it returns, with a `limit` up to twice as many lines as that.
   *
   * @throws `NQ_VALIDATION` for a malformed filter.
   */
  query(query?: LogQuery): Promise<LogEntry[]>
  /**
   * Lines one by one, in bounded memory, and therefore run by run: `order` is that within each run. Runs of a flow come
   * in the order of their beginning, the newest first, those of a chain the oldest first, others in none. Runs that begin or expire meanwhile may be
   * part of it or not.
   *
   * @throws `NQ_VALIDATION` for a malformed filter, at once.
   */
  iterate(query?: LogQuery): AsyncGenerator<LogEntry, void, undefined>
  /** Numbers about the logger outside. */
  stats(): LogStats
}

/** What {@link open} gives: a store, and all that is built upon it. */
export interface QueueCore {
  /** The event store. */
  readonly store: EventStore
  /** Flows and their runs. */
  readonly flows: FlowEngine
  /** Triggers and awaits. */
  readonly triggers: TriggerEngine
  /** Which instances there are, and what they offer. */
  readonly registry: WorkerRegistry
  /** Logs of runs. */
  readonly logs: Logs
  /** The same as {@link TriggerEngine.register} of {@link QueueCore.triggers}. */
  registerTrigger(definition: TriggerDefinition): Promise<void>
  /** The same as {@link TriggerEngine.emit} of {@link QueueCore.triggers}. */
  emitTrigger<N extends TriggerName>(name: N, ...payload: FireArguments<N, EmitTriggerOptions>): Promise<Firing>

  /**
   * Runs steps of a queue in this process: of all flows, in memory and in a directory those of this core, on Redis
   * those of all instances, through BullMQ (an optional peer dependency).
   *
   * @param handlers By the name of their step; by `flow/step` where a queue holds steps of the same name of several
   * flows. A step without a handler here is left to other instances.
   * @returns When it works.
   * @throws `NQ_VALIDATION` for malformed arguments; `NQ_CONFIG` if BullMQ is missing; `NQ_UNAVAILABLE` if the queue
   * can't be reached.
   * @example
   * ```ts
   * const worker = await core.worker('ml', {
   *   fit: async (input, ctx) => {
   *     await ctx.state.set('status', 'training')
   *     await ctx.flow.emit('fitted', { accuracy: 0.95 })
   *   },
   * })
   * ```
   */
  worker(queue: string, handlers: Record<string, StepHandler>, options?: WorkerOptions): Promise<Worker>

  /**
   * Closes workers, timers, queues and the store, in this order. A second call resolves with the first.
   */
  close(): Promise<void>
}

/**
 * Opens a store and all that is built upon it, wired from one configuration. A core does not keep Node alive by itself;
 * its workers do.
 *
 * @throws `NQ_CONFIG` for options that can't work; otherwise as {@link EventStore.open}.
 * @example
 * ```ts
 * const core = await open({ eventStore: { adapter: 'redis' }, triggers: { baseUrl: 'https://app.example.com' } })
 * core.flows.define({ name: 'hello', entry: { step: 'greet', queue: 'main' }, steps: {} })
 * await core.worker('main', { greet: async (input, ctx) => ctx.logger.info(`Hello ${input.name}`) })
 * const { runId } = await core.flows.start('hello', { name: 'world' })
 * ```
 */
export function open(config?: QueueConfig): Promise<QueueCore>

// ------------------------------------------------------------------ diagnostics

/** How urgent a diagnostic is, most urgent first. */
export type DiagnosticLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** What the package itself has to say about its work: not part of any run's timeline. */
export interface Diagnostic {
  /** How urgent it is. */
  level: DiagnosticLevel
  /** What happened: a text that stays the same from case to case. */
  message: string
  /** When, ISO 8601, by the system's clock. */
  timestamp: string
  /** The part of the package that says so, such as `nuxt_queue_core::backend::redis::link`. */
  target: string
  /** What differs from case to case, as texts, numbers and booleans. Never a password. */
  fields: Record<string, unknown>
}

/** Options of {@link onDiagnostic}. */
export interface DiagnosticOptions {
  /** The least urgent level to be told of. Default: what the environment variable `NQ_LOG` says, or `'warn'`. */
  level?: DiagnosticLevel
}

/**
 * Calls `callback` with what the package has to say about its work, in all threads of the process: a
 * lost connection, for one. While a callback is there, in any thread, nothing is written to stderr;
 * otherwise it is one line each, up to the level that the environment variable `NQ_LOG` names: `off`,
 * `error`, `warn` (default), `info`, `debug` or `trace`.
 *
 * The callback is called soon after, never in the middle of another call, and at the latest when the
 * process exits; it does not keep the process alive. If 1024 diagnostics wait for it, further ones are
 * dropped, and the next one says so: `fields.dropped` is how many. What it throws is reported once, by
 * `process.emitWarning`. What it does may bring further diagnostics, so it should not use a store at
 * level `debug` or `trace`.
 *
 * @returns Ends it; a second call does nothing. It also ends with its thread.
 * @throws `NQ_VALIDATION` for a callback that is no function, or malformed options.
 * @example
 * ```ts
 * const stop = onDiagnostic(({ level, message, fields }) => logger[level](fields, message), { level: 'info' })
 * ```
 */
export function onDiagnostic(callback: (diagnostic: Diagnostic) => void, options?: DiagnosticOptions): () => void

// ------------------------------------------------------------------ errors

/**
 * What kind of failure it is; one exists only where a caller acts differently. `docs/errors.md` says
 * what to do about each.
 *
 * - `NQ_INVALID_EVENT`: stream name, type, envelope or payload can't be stored.
 * - `NQ_VALIDATION`: an argument is malformed: query, id, time, limit, point, key, score.
 * - `NQ_TOO_LARGE`: the event is over `limits.maxEventBytes`.
 * - `NQ_CONFLICT`: `expectedLastId` no longer holds, or a run or step is no longer in a state that allows it.
 * - `NQ_UNAVAILABLE`: the backend can't be reached.
 * - `NQ_TIMEOUT`: a deadline passed; of an append or a read (the message says whether the outcome is unknown or nothing
 *   was stored), or of an await.
 * - `NQ_CLOSED`: the store was closed.
 * - `NQ_CONFIG`: the options can't work, or name something that this version does not have.
 * - `NQ_BACKEND`: the backend answered, and refused (wrong kind of key, out of memory, read only, no permission).
 * - `NQ_CORRUPT`: stored data can't be read as what it should be.
 * - `NQ_TRIMMED`: events that were asked for by `after` were replaced by a compaction's snapshot.
 * - `NQ_NOT_FOUND`: there is no such flow, step, run or await.
 * - `NQ_CANCELED`: the await or its run was canceled, or the run has failed.
 * - `NQ_SUSPENDED`: the step was suspended while it waited, and this execution of its handler no longer counts.
 * - `NQ_NONDETERMINISTIC`: the handler of a step began other awaits than an earlier execution of it.
 * - `NQ_BINDING`: the native addon for this platform can't be loaded.
 * - `NQ_INTERNAL`: a defect of this package; please report it.
 */
export type ErrorCode =
  | 'NQ_INVALID_EVENT'
  | 'NQ_VALIDATION'
  | 'NQ_TOO_LARGE'
  | 'NQ_CONFLICT'
  | 'NQ_UNAVAILABLE'
  | 'NQ_TIMEOUT'
  | 'NQ_CLOSED'
  | 'NQ_CONFIG'
  | 'NQ_BACKEND'
  | 'NQ_CORRUPT'
  | 'NQ_TRIMMED'
  | 'NQ_NOT_FOUND'
  | 'NQ_CANCELED'
  | 'NQ_SUSPENDED'
  | 'NQ_NONDETERMINISTIC'
  | 'NQ_BINDING'
  | 'NQ_INTERNAL'

/**
 * Every failure of this package. The message says what was wrong and what to do; `cause` is the
 * failure underneath, if there was one.
 *
 * @example
 * ```ts
 * try {
 *   await store.append(stream, event, { expectedLastId })
 * } catch (error) {
 *   if (error instanceof NuxtQueueError && error.code === 'NQ_CONFLICT') return retry()
 *   throw error
 * }
 * ```
 */
export class NuxtQueueError extends Error {
  /** Makes an error, for tests of code that handles them. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown })
  /** What kind of failure it is. Stable; messages are not. */
  readonly code: ErrorCode
  /** The failure underneath, if there was one. */
  readonly cause?: unknown
}

// biome-ignore lint/complexity/noUselessEmptyExport: without it a declaration file exports its helper types, too
export {}
