/**
 * Tools for tests of code that uses `nuxt-queue-core`.
 *
 * @packageDocumentation
 */

import type { EventRecord, EventStore, Point, RunStatus, UntypedRecord } from './index.js'

/**
 * A clock that stands still until it is moved. One clock may serve several stores and cores.
 *
 * Deadlines of awaits, back-offs and everything else that waits for an instant happen while the clock is moved past
 * it, in their order. A move shows the new time at once where nothing is due on the way; awaited, it also waits until
 * all that it set off has happened: handlers have run on until they end or await again.
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
}
