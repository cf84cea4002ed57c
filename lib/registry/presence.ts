/**
 * This instance among others: it comes, gives signs of life, and goes.
 */

import type { Activity } from '../activity.js'
import { NuxtQueueError } from '../errors.js'
import type { Timers } from '../timers.js'
import { warn } from '../warn.js'
import type { RegistryCalls } from './calls.js'

/** How often the event loop says that it runs, at most. */
const LONGEST_TICK = 500

/** How long closing waits for a good-bye. */
const GOODBYE_MS = 1000

export interface PresenceOptions {
  activity: Activity
  timers: Timers
  /** Between two signs of life, in milliseconds; `undefined`: there is nobody to see them. */
  heartbeatInterval: number | undefined
  /** Whether a test moves the clock: then signs of life come by it. */
  isVirtual: boolean
}

/** Sees to it that others know that this instance is there. None of it is waited for by those who work. */
export class Presence {
  readonly #calls: RegistryCalls
  readonly #options: PresenceOptions
  #arrived: Promise<void> = Promise.resolve()
  #ticks: NodeJS.Timeout | undefined
  #cancel = () => {}
  #failed = false
  #closed = false

  constructor(calls: RegistryCalls, options: PresenceOptions) {
    this.#calls = calls
    this.#options = options
  }

  /** Comes. */
  start(): void {
    const { activity, heartbeatInterval, isVirtual } = this.#options
    if (heartbeatInterval !== undefined && !isVirtual) {
      this.#tickEach(Math.min(Math.ceil(heartbeatInterval / 4), LONGEST_TICK))
      this.#calls.keepBeating()
    }
    const arrive = () => this.#arrive()
    this.#arrived = isVirtual ? activity.track(arrive) : arrive()
  }

  /** Resolves when it is recorded that it has come, or could not be. */
  async arrived(): Promise<void> {
    await this.#arrived
  }

  async #arrive(): Promise<void> {
    await this.#try(() => this.#calls.call('start', undefined, true))
    await this.#beat()
  }

  /** A thread that is blocked can't say so: whoever gives the signs of life sees how old this is. */
  #tickEach(everyMs: number): void {
    this.#calls.tick(everyMs)
    this.#ticks = setInterval(() => this.#calls.tick(everyMs), everyMs).unref()
  }

  async #beat(): Promise<void> {
    await this.#try(() => this.#calls.call('beat', undefined, true))
    const { activity, heartbeatInterval, isVirtual, timers } = this.#options
    if (heartbeatInterval === undefined || !isVirtual || this.#closed) return
    this.#cancel = timers.at(timers.now() + heartbeatInterval, () => void activity.track(() => this.#beat()))
  }

  async #try(call: () => Promise<unknown>): Promise<void> {
    try {
      await call()
      this.#failed = false
    } catch (error) {
      if (this.#closed || (error instanceof NuxtQueueError && error.code === 'NQ_CLOSED')) return
      // Once per outage: it may last.
      if (!this.#failed)
        warn('The registry could not be told of this instance; this is tried again', error, 'NQ_REGISTRY')
      this.#failed = true
    }
  }

  /** Goes. If that can't be said now, it will look dead. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#ticks)
    this.#cancel()
    const said = this.#calls.call('shutDown', undefined, true).catch(() => {})
    await Promise.race([said, new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))])
  }
}
