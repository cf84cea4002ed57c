/**
 * The way to the native store and back: tickets and promises.
 *
 * The appends of a tick go over in one call, in their order. Outcomes come back many at a time through one callback.
 */

import type { NativeClock, NativeStore } from '../native.cjs'
import { rethrowing } from './errors.js'
import { native } from './native.js'

/** Packed appends are handed over at the end of the tick, or as soon as there are so many. */
const HAND_OVER_AT = 32

/** The same by length, in UTF-16 units. */
const HAND_OVER_LENGTH = 1 << 24

/** Bridges with open promises: they must not be collected. */
const busy = new Set<Bridge>()
/** How many open promises keep Node alive. */
let held = 0
let keepAlive: NodeJS.Timeout | undefined

/** One executor for all promises: a closure for each would cost as much as the promise. */
let grabbed: (outcome: string) => void
const grabResolve = (resolve: (outcome: string) => void) => {
  grabbed = resolve
}

/** A native store. */
export class Bridge {
  readonly store: NativeStore
  readonly #handle: object
  /** Whether everything is answered on the calling thread. */
  readonly isImmediate: boolean
  #nextTicket = 1
  #outbox: string[] = []
  #outboxLength = 0
  #flushScheduled = false
  #waiting = new Map<number, (outcome: string) => void>()
  /** Those who wait without keeping Node alive. */
  #background = new Set<number>()

  constructor(options: string, isImmediate: boolean, clock: NativeClock | undefined) {
    // The native store holds on to this callback, and the bridge to the store: without the weak reference nobody
    // could ever collect the two.
    const bridge = new WeakRef(this)
    const settle = (stored: Float64Array, others: Array<[number, string]>) => {
      const self = bridge.deref()
      if (self) self.#settle(stored, others)
    }
    this.store = rethrowing(() => new native.NativeStore(options, settle, clock))
    this.#handle = this.store.handle()
    this.isImmediate = isImmediate
  }

  /** Hands an append over; the outcome: ids, the records of a repeated append, or an error. */
  append(packed: string): string | Promise<string> {
    if (this.isImmediate) {
      const outcome = packed.includes('\n')
        ? this.store.submit(0, packed)[0]?.[1]
        : native.appendNow(this.#handle, packed)
      if (outcome) return outcome
    }
    // What has gathered must fit into one text, whatever comes now.
    if (this.#outboxLength + packed.length > HAND_OVER_LENGTH) this.flush()
    const outcome = this.#wait(this.#nextTicket++, true)
    this.#outboxLength += packed.length
    if (this.#outbox.push(packed) === HAND_OVER_AT) {
      this.flush()
    } else if (!this.#flushScheduled) {
      this.#flushScheduled = true
      queueMicrotask(() => {
        this.#flushScheduled = false
        this.flush()
      })
    }
    return outcome
  }

  /** Hands over what was appended in this tick so far. */
  flush(): void {
    if (this.#outbox.length === 0) return
    const packed = this.#outbox.join('\n')
    const firstTicket = this.#nextTicket - this.#outbox.length
    this.#outbox = []
    this.#outboxLength = 0
    for (const [ticket, outcome] of this.store.submit(firstTicket, packed)) this.#answer(ticket, outcome)
  }

  /** Calls a native method, behind everything that was appended before. `background` calls don't keep Node alive. */
  call(method: (ticket: number) => string | null, background = false): string | Promise<string> {
    this.flush()
    const ticket = this.#nextTicket++
    return method(ticket) ?? this.#wait(ticket, !background)
  }

  #wait(ticket: number, hold: boolean): Promise<string> {
    const outcome = new Promise(grabResolve)
    if (this.#waiting.size === 0) busy.add(this)
    this.#waiting.set(ticket, grabbed)
    if (hold) holdNode()
    else this.#background.add(ticket)
    return outcome
  }

  #settle(stored: Float64Array, others: Array<[number, string]>): void {
    for (let at = 0; at < stored.length; at += 3) {
      this.#answer(stored[at] as number, `${stored[at + 1]}-${stored[at + 2]}`)
    }
    for (const [ticket, outcome] of others) this.#answer(ticket, outcome)
  }

  #answer(ticket: number, outcome: string): void {
    const resolve = this.#waiting.get(ticket)
    if (resolve === undefined) return
    this.#waiting.delete(ticket)
    if (this.#waiting.size === 0) busy.delete(this)
    if (!this.#background.delete(ticket)) releaseNode()
    resolve(outcome)
  }
}

function holdNode(): void {
  if (held++ > 0) return
  keepAlive ??= setInterval(() => {}, 2 ** 30)
  keepAlive.ref()
}

function releaseNode(): void {
  if (--held === 0) keepAlive?.unref()
}
