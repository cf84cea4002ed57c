/**
 * For tests: a clock that moves when it is told to.
 */

import type { NativeClock } from '../native.cjs'
import type * as surface from '../testing.js'
import { NuxtQueueError } from './errors.js'
import { native } from './native.js'
import { invalid } from './query.js'
import { toMs } from './time.js'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const clocks = new WeakMap<VirtualClock, NativeClock>()

/** A clock that stands still until it is moved; documented in `testing.d.ts`. */
export class VirtualClock implements Pick<surface.VirtualClock, keyof surface.VirtualClock> {
  readonly #native: NativeClock

  constructor(start: Date | string | number = 0) {
    this.#native = new native.NativeClock(notBefore1970(start, 'start'))
    clocks.set(this, this.#native)
  }

  now(): number {
    return this.#native.now()
  }

  advance(by: number | string): void {
    this.#native.advance(typeof by === 'string' ? parseDuration(by) : checkDuration(by))
  }

  set(to: Date | string | number): void {
    this.#native.set(notBefore1970(to, 'to'))
  }
}

/** The native side of a clock from the options of a store. */
export function nativeClock(clock: unknown): NativeClock | undefined {
  if (clock === undefined) return undefined
  const found = clocks.get(clock as VirtualClock)
  if (!found) throw new NuxtQueueError('NQ_CONFIG', 'clock is not a VirtualClock of nuxt-queue-core/testing.')
  return found
}

function notBefore1970(time: Date | string | number, name: string): number {
  const ms = toMs(time, name)
  if (ms < 0) throw invalid(name, time, 'an instant from 1970 on')
  return ms
}

function parseDuration(text: string): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  if (amount === undefined)
    throw invalid('by', text, 'milliseconds, or a text such as "250ms", "10s", "90m", "24h", "2d"')
  return Number(amount) * (UNITS[unit] as number)
}

function checkDuration(ms: number): number {
  if (!Number.isFinite(ms) || ms < 0) throw invalid('by', ms, 'milliseconds from 0 on; use set to go back')
  return ms
}
