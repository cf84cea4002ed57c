/**
 * Tools for tests of code that uses `nuxt-queue-core`.
 *
 * @packageDocumentation
 */

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
