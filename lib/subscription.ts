/**
 * Delivers events to a handler, one after the other.
 */

import type * as surface from '../index.js'
import type { NativeSubscription } from '../native.cjs'
import type { Bridge } from './bridge.js'
import { isError, type NuxtQueueError, toError, unwrap } from './errors.js'
import { checkName, checkOptions, invalid } from './query.js'
import { toId } from './time.js'

type Handler = (event: surface.EventRecord) => void | Promise<void>

/** The pause after an error that is not about the connection, which the native side mends by itself. */
const RETRY_AFTER_MS = 1000

/** Begins a subscription; resolves once nothing that is appended can be missed. */
export async function subscribe(
  bridge: Bridge,
  streamOrPattern: string,
  handler: Handler,
  options: surface.SubscribeOptions = {},
): Promise<surface.Subscription> {
  const target = checkName(streamOrPattern, 'The stream or pattern')
  return await begin(bridge, /[*?[\]\\]/.test(target) ? { pattern: target } : { stream: target }, handler, options)
}

/** The same to one stream, whatever its name; records tell what their writers noted as their time, where that is kept. */
export async function subscribeWithTs(
  bridge: Bridge,
  stream: string,
  handler: Handler,
  options: surface.SubscribeOptions = {},
): Promise<surface.Subscription> {
  return await begin(bridge, { stream: checkName(stream, 'The stream'), withTs: true }, handler, options)
}

async function begin(
  bridge: Bridge,
  target: object,
  handler: Handler,
  options: surface.SubscribeOptions,
): Promise<surface.Subscription> {
  if (typeof handler !== 'function') throw invalid('handler', handler, 'a function')
  checkOptions(options, ['after', 'onCaughtUp', 'onError'])
  for (const name of ['onCaughtUp', 'onError'] as const) {
    const callback = options[name]
    if (callback !== undefined && typeof callback !== 'function') throw invalid(name, callback, 'a function')
  }
  const after = options.after === undefined ? undefined : toId(options.after, 'after')
  const packed = JSON.stringify({ ...target, after })
  const native = bridge.store.subscription()
  unwrap(await bridge.call((ticket) => native.begin(ticket, packed)))
  const loop = new DeliveryLoop(bridge, native, handler, options)
  loop.run().catch((error) => warn('A subscription ended', error))
  return { unsubscribe: async () => loop.stop() }
}

class DeliveryLoop {
  readonly #bridge: Bridge
  readonly #native: NativeSubscription
  readonly #handler: Handler
  readonly #options: surface.SubscribeOptions
  #stopped = false

  constructor(bridge: Bridge, native: NativeSubscription, handler: Handler, options: surface.SubscribeOptions) {
    this.#bridge = bridge
    this.#native = native
    this.#handler = handler
    this.#options = options
  }

  stop(): void {
    this.#stopped = true
    this.#native.end()
  }

  async run(): Promise<void> {
    let next = this.#next()
    while (!this.#stopped) {
      const delivery = await next
      if (delivery === 'null') return
      if (isError(delivery)) await this.#recover(toError(delivery))
      // The next page is read while this one is handled; no more than that is ever held.
      next = this.#next()
      if (delivery === '"caughtUp"') this.#caughtUp()
      else if (!isError(delivery)) await this.#deliver(JSON.parse(delivery) as surface.EventRecord[])
    }
  }

  /** A subscription waits for others, maybe for ever: it must not keep Node alive. */
  #next(): string | Promise<string> {
    return this.#bridge.call((ticket) => this.#native.next(ticket), true)
  }

  async #deliver(events: surface.EventRecord[]): Promise<void> {
    for (const event of events) {
      if (this.#stopped) return
      try {
        // Awaiting what is no promise would cost a turn of the microtask queue an event.
        const handled = this.#handler(event)
        if (handled !== undefined) await handled
      } catch (error) {
        this.#report(error, event)
      }
    }
  }

  #caughtUp(): void {
    if (this.#stopped) return
    try {
      this.#options.onCaughtUp?.()
    } catch (error) {
      warn('The onCaughtUp callback of a subscription failed', error)
    }
  }

  #report(error: unknown, event: surface.EventRecord): void {
    const { onError } = this.#options
    if (!onError) {
      warn(
        `The handler of a subscription failed on ${event.type} ${event.id} of ${event.stream}; the subscription goes on`,
        error,
      )
      return
    }
    try {
      onError(error, event)
    } catch (failure) {
      warn('The onError callback of a subscription failed', failure)
    }
  }

  async #recover(error: NuxtQueueError): Promise<void> {
    if (error.code === 'NQ_CLOSED') {
      this.#stopped = true
      return
    }
    warn('A subscription could not read; it tries again', error)
    await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS).unref())
  }
}

/** Says what went wrong where nobody waits for it. */
function warn(what: string, error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.emitWarning(`${what}: ${detail}`, { type: 'NuxtQueueWarning', code: 'NQ_SUBSCRIPTION' })
}
