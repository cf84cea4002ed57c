/**
 * Tools for tests of code that uses `nuxt-queue-core`.
 *
 * @packageDocumentation
 */

/**
 * A clock that stands still until it is moved. One clock may serve several stores.
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
 * clock.advance('61s')
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
   * Moves it forwards.
   *
   * @param by Milliseconds from 0, or text of a number and a unit: `'250ms'`, `'10s'`, `'90m'`, `'24h'`, `'2d'`.
   * @throws `NQ_VALIDATION` for anything else.
   */
  advance(by: number | string): void

  /**
   * Sets it, forwards or backwards.
   *
   * @param to As `start` of the constructor.
   * @throws `NQ_VALIDATION` for anything else.
   */
  set(to: Date | string | number): void
}
