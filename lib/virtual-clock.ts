/**
 * A clock that moves when it is told to, and waits for what its moves set off.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { NativeClock } from '../native.cjs'
import type * as surface from '../testing.js'
import { toDuration } from './duration.js'
import { NuxtQueueError } from './errors.js'
import { native } from './native.js'
import { invalid } from './query.js'
import { toMs } from './time.js'
import { registerTimers, VirtualTimers } from './timers.js'

/** What ids hold, and numbers hold exactly. */
const LAST_INSTANT = Number.MAX_SAFE_INTEGER

type Settle = () => Promise<unknown>

interface Inside {
  native: NativeClock
  settles: Set<Settle>
}

const insides = new WeakMap<VirtualClock, Inside>()

/** A clock that stands still until it is moved; documented in `testing.d.ts`. */
export class VirtualClock implements Pick<surface.VirtualClock, keyof surface.VirtualClock> {
  readonly #native: NativeClock
  readonly #timers: VirtualTimers
  readonly #settles = new Set<Settle>()
  /** The instant to which the moves so far lead; never before that which the clock shows. */
  #goal: number
  /** Fires and settles until the goal is reached and everyone is quiet. */
  #moving: Promise<void> | undefined

  constructor(start: Date | string | number = Date.now()) {
    this.#native = new native.NativeClock(toInstant(start, 'start'))
    this.#goal = this.#native.now()
    this.#timers = new VirtualTimers(() => this.#native.now())
    insides.set(this, { native: this.#native, settles: this.#settles })
    registerTimers(this, this.#timers)
  }

  now(): number {
    return this.#native.now()
  }

  async advance(by: number | string): Promise<void> {
    this.#goal = Math.min(this.#goal + toDuration(by, 'by'), LAST_INSTANT)
    await this.#move()
  }

  async set(to: Date | string | number): Promise<void> {
    this.#goal = toInstant(to, 'to')
    if (this.#goal < this.now()) this.#native.set(this.#goal)
    await this.#move()
  }

  async settle(): Promise<void> {
    await this.#move()
  }

  /** Moves on until something has to be waited for, within this call; the rest follows. */
  #move(): Promise<void> {
    if (this.#settles.size === 0) this.#step()
    this.#moving ??= this.#run()
    return this.#moving
  }

  /** To the next timer, or to the goal where none is due before it. */
  #step(): void {
    const to = this.#timers.nextBy(this.#goal) ?? this.#goal
    if (to > this.now()) this.#native.set(to)
  }

  async #run(): Promise<void> {
    try {
      // What is under way may set timers that are due on the way.
      await this.#quiet()
      do {
        this.#step()
        if (this.#timers.nextBy(this.now()) !== undefined) this.#timers.fireNext()
        await this.#quiet()
      } while (this.now() < this.#goal || this.#timers.nextBy(this.#goal) !== undefined)
    } finally {
      this.#moving = undefined
    }
  }

  /** Waits for everyone; again and again, as what one does last may wake another. */
  async #quiet(): Promise<void> {
    for (let round = 0; round <= this.#settles.size; round++) {
      for (const settle of [...this.#settles]) await settle()
      await nextTurn()
    }
  }
}

/** The native side of a clock from the options of a store. */
export function nativeClock(clock: unknown): NativeClock | undefined {
  return clock === undefined ? undefined : insideOf(clock).native
}

/**
 * Lets moves of a clock wait until `settle` has resolved. Without a clock of a test nobody waits.
 *
 * @returns Takes it back.
 */
export function onSettle(clock: unknown, settle: () => Promise<unknown>): () => void {
  if (clock === undefined) return () => {}
  const { settles } = insideOf(clock)
  // Wrapped, so that each registration is one of its own.
  const own = () => settle()
  settles.add(own)
  return () => settles.delete(own)
}

function insideOf(clock: unknown): Inside {
  const inside = insides.get(clock as VirtualClock)
  if (!inside) throw new NuxtQueueError('NQ_CONFIG', 'clock is not a VirtualClock of nuxt-queue-core/testing.')
  return inside
}

/** A millisecond of an instant that the clock can show. */
function toInstant(time: Date | string | number, name: string): number {
  const ms = Math.floor(toMs(time, name))
  if (ms < 0 || ms > LAST_INSTANT) throw invalid(name, time, 'an instant from 1970 on')
  return ms
}
