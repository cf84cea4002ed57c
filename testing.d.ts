/**
 * Tools for tests of code that uses `nuxt-queue-core`.
 *
 * @packageDocumentation
 */

// For Symbol.asyncDispose, which not every `lib` of a tsconfig.json includes.
/// <reference lib="esnext.disposable" />

import type {
  EventRecord,
  EventStore,
  Point,
  QueueConfig,
  QueueCore,
  RunStatus,
  StepHandler,
  StoreOptions,
  UntypedRecord,
} from './index.js'

/**
 * A clock that stands still until it is moved. One clock may serve several stores and cores.
 *
 * Deadlines of awaits, back-offs and everything else that waits for an instant happen while the clock is moved past
 * it, in their order. A move first lets happen what can happen before it, and waits until all that it set off has
 * happened: handlers have run on until they end or await again. So `await` it. Where only stores use the clock the new
 * time shows at once.
 *
 * A handler must not await a move itself, which would wait for the handler.
 *
 * @example
 * ```ts
 * import { EventStore } from 'nuxt-queue-core'
 * import { VirtualClock } from 'nuxt-queue-core/testing'
 *
 * const clock = new VirtualClock('2025-11-05T10:00:00Z')
 * const store = await EventStore.open({ clock })
 * const state = store.state('42')
 * await state.set('token', 'abc', { ttl: 60_000 })
 * await clock.advance('61s')
 * await state.has('token') // false
 * ```
 */
export class VirtualClock {
  /**
   * @param start The instant it shows: a `Date`, milliseconds since the Unix epoch, or ISO 8601 text
   * (a date alone is midnight UTC; a date and time needs `Z` or an offset). Default: the present.
   * @throws `NQ_VALIDATION` for anything else.
   */
  constructor(start?: Date | string | number)

  /** The instant it shows, in milliseconds since the Unix epoch. */
  now(): number

  /**
   * Moves it forwards: to each instant on the way at which something is due, which then happens and may make more due,
   * and to the end. Resolves when all is quiet.
   *
   * @param by Milliseconds from 0, or text of a number and a unit: `'250ms'`, `'10s'`, `'90m'`, `'24h'`, `'2d'`, `'1w'`.
   * @throws `NQ_VALIDATION` for anything else.
   */
  advance(by: number | string): Promise<void>

  /**
   * Sets it, forwards as `advance` does, or backwards. What has happened already stays as it is.
   *
   * @param to As `start` of the constructor.
   * @throws `NQ_VALIDATION` for anything else.
   */
  set(to: Date | string | number): Promise<void>

  /** Resolves when all that can happen without another move of the clock has happened. */
  settle(): Promise<void>
}

/** Options of {@link createTestRuntime}: those of `open`, with a store in memory. */
export interface TestRuntimeOptions extends Omit<QueueConfig, 'eventStore' | 'clock'> {
  /** Options of the store. */
  eventStore?: Omit<StoreOptions, 'adapter' | 'clock'>
  /** A clock of the test's own, such as one that several cores share. */
  clock?: VirtualClock
  /** Where the clock begins, if it is not the test's own. Default: 2025-01-01T00:00:00Z. */
  start?: Date | string | number
}

/** A core for a test, see {@link createTestRuntime}. */
export interface TestRuntime extends AsyncDisposable {
  /** What `open` gives, on a memory store. */
  readonly core: QueueCore
  /** Its clock. */
  readonly clock: VirtualClock
  /** Closes the core. */
  close(): Promise<void>
}

/**
 * A core in memory, under a clock that stands still until the test moves it.
 *
 * @example
 * ```ts
 * await using runtime = await createTestRuntime()
 * const { core, clock } = runtime
 * core.flows.define(orderFlow)
 * await core.worker('orders', orderHandlers)
 * const { runId } = await core.flows.start('order', { items: 3 })
 * await clock.advance('24h') // nobody approves
 * expect(await core.flows.status(runId)).toMatchObject({ status: 'failed' })
 * ```
 */
export function createTestRuntime(options?: TestRuntimeOptions): Promise<TestRuntime>

/** A run as JSON, see {@link exportRun}. */
export interface RunFixture {
  /** Of which form this is; now 1. */
  format: number
  runId: string
  flowName: string
  /** All events of the run's stream, in order. */
  events: UntypedRecord[]
}

/**
 * All of a run as plain JSON, to be kept in a file and looked at with {@link replay}. The same run gives the same text.
 *
 * A fixture holds what the run's events hold, personal data included: look before you commit one.
 *
 * @throws `NQ_NOT_FOUND` if there is no such run.
 * @example
 * ```ts
 * const fixture = await exportRun(core.store, runId)
 * await writeFile('fixtures/iris.json', JSON.stringify(fixture, null, 2))
 * ```
 */
export function exportRun(store: EventStore, runId: string): Promise<RunFixture>

/**
 * Looks at a run from its fixture alone: no store, no server.
 *
 * @throws `NQ_VALIDATION` for what is no fixture, or one of another format.
 * @example
 * ```ts
 * const run = replay<IrisState>(JSON.parse(await readFile('fixtures/iris.json', 'utf8')))
 * expect(run.status.status).toBe('completed')
 * expect(run.state.accuracy).toBeGreaterThan(0.9)
 * expect(run.at('2025-11-05T10:00:03Z').epoch).toBe(2)
 * ```
 */
export function replay<S extends object = Record<string, unknown>>(fixture: RunFixture): Replay<S>

/** A run that is looked at from its fixture. */
export interface Replay<S extends object = Record<string, unknown>> {
  /** What {@link reduceRun} makes of the events. */
  readonly status: RunStatus
  /** What {@link reduceState} makes of all events. */
  readonly state: Partial<S>
  /** The events, in order. */
  readonly events: EventRecord[]
  /**
   * The state at a point: an instant or an event's id.
   *
   * @throws `NQ_VALIDATION` for a malformed point.
   */
  at(point: Point): Partial<S>

  /**
   * Executes a step of the run again, in memory, with a handler as it is now. It gets the recorded input and the state
   * as it was when the step began. Each await gives what the record says came of it, in the recorded order: the answer,
   * the timeout, the cancel. Emits and changes of state stay in the copy; what the handler does outside it does.
   *
   * The clock is one that stands still, at the instant when the step began, until an await waits for time.
   *
   * @throws What the handler throws; `NQ_NOT_FOUND` if the step did not begin in the run; `NQ_NONDETERMINISTIC` if it
   * awaits something of which the record does not say what came.
   * @example
   * ```ts
   * const { result, state } = await run.step('approve', handlers.approve)
   * expect(state.status).toBe('approved')
   * ```
   */
  step(name: string, handler: StepHandler): Promise<ReplayedStep<S>>
}

/** What a step did when it was executed again. */
export interface ReplayedStep<S extends object = Record<string, unknown>> {
  /** What the handler returned, as JSON holds it. */
  readonly result: unknown
  /** The state of the run afterwards. */
  readonly state: Partial<S>
  /** The step's events, from its start to its end. */
  readonly events: EventRecord[]
}
