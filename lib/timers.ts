/**
 * Callbacks at an instant, by the system's clock or by one that a test moves.
 */

import { NuxtQueueError } from './errors.js'

/** A clock that calls back. */
export interface Timers {
  /** The instant, in milliseconds since the Unix epoch. */
  now(): number
  /**
   * Calls back once the clock shows `ms`, never before this call has returned. Any distance works. Does not keep Node
   * alive.
   *
   * @returns Cancels it; harmless afterwards.
   */
  at(ms: number, callback: () => void): () => void
}

/**
 * How long a timer of Node is set for, at most. Node counts in 32 bits (24.8 days) and by a clock that stands still
 * while the machine sleeps: after a sleep, or when the wall clock was corrected, no deadline is later than this.
 */
const LONGEST_WAIT = 60_000

const systemTimers: Timers = {
  now: Date.now,
  at(ms, callback) {
    let timer: NodeJS.Timeout
    const arm = () => {
      timer = setTimeout(check, Math.min(Math.max(ms - Date.now(), 0), LONGEST_WAIT)).unref()
    }
    // Also a timer that Node fires a millisecond early waits for the rest: whoever is called reads the clock.
    const check = () => (Date.now() < ms ? arm() : callback())
    arm()
    return () => clearTimeout(timer)
  },
}

interface Entry {
  ms: number
  callback: () => void
}

/** The timers of a clock that stands still until it is moved. Moving it, and firing what that makes due, is its business. */
export class VirtualTimers implements Timers {
  readonly now: () => number
  /** By instant, then by creation. */
  readonly #entries: Entry[] = []
  #firesOverdue = false

  constructor(now: () => number) {
    this.now = now
  }

  at(ms: number, callback: () => void): () => void {
    const entry = { ms: Math.ceil(ms), callback }
    const later = this.#entries.findIndex((other) => other.ms > entry.ms)
    this.#entries.splice(later < 0 ? this.#entries.length : later, 0, entry)
    if (entry.ms <= this.now()) this.#fireOverdueSoon()
    return () => {
      const index = this.#entries.indexOf(entry)
      if (index >= 0) this.#entries.splice(index, 1)
    }
  }

  /** The instant of the first timer that is due by `until`. */
  nextBy(until: number): number | undefined {
    const first = this.#entries[0]
    return first !== undefined && first.ms <= until ? first.ms : undefined
  }

  /** Fires the first timer. */
  fireNext(): void {
    this.#entries.shift()?.callback()
  }

  /** What is due when it is set must not wait for the clock to be moved, nor for those whom a move waits for. */
  #fireOverdueSoon(): void {
    if (this.#firesOverdue) return
    this.#firesOverdue = true
    setImmediate(() => {
      this.#firesOverdue = false
      if (this.nextBy(this.now()) === undefined) return
      // First, so that the others fire even if this one throws.
      this.#fireOverdueSoon()
      this.fireNext()
    })
  }
}

const virtualTimers = new WeakMap<object, Timers>()

/** Lets {@link timersOf} find the timers of a clock. */
export function registerTimers(clock: object, timers: Timers): void {
  virtualTimers.set(clock, timers)
}

/** The timers of a clock from the options; without one, those of the system. */
export function timersOf(clock: unknown): Timers {
  if (clock === undefined) return systemTimers
  const timers = typeof clock === 'object' && clock !== null ? virtualTimers.get(clock) : undefined
  if (timers === undefined)
    throw new NuxtQueueError('NQ_CONFIG', 'clock is not a VirtualClock of nuxt-queue-core/testing.')
  return timers
}
