/** What a subscription has brought so far. */

import type { EventRecord, EventStore, SubscribeOptions, Subscription } from '../../index.js'

/** Receives the events of a subscription. Await each promise soon: it fails when the events don't come. */
export class Inbox {
  readonly events: EventRecord[] = []
  subscription?: Subscription
  #look = () => {}

  /** The handler to subscribe with. */
  readonly handler = (event: EventRecord): void => {
    this.events.push(event)
    this.#look()
  }

  /** Subscribes with an inbox of its own. */
  static async of(store: EventStore, target: string, options?: SubscribeOptions): Promise<Inbox> {
    const inbox = new Inbox()
    inbox.subscription = await store.subscribe(target, inbox.handler, options)
    return inbox
  }

  /** The events as soon as there are so many. */
  async count(count: number, timeoutMs = 15_000): Promise<EventRecord[]> {
    await this.#until(() => this.events.length >= count, `${count} events`, timeoutMs)
    return this.events
  }

  /** The ids of all events as soon as one of this id has come. */
  async idsUntil(id: string, timeoutMs = 15_000): Promise<string[]> {
    await this.#until(() => this.events.some((event) => event.id === id), `event ${id}`, timeoutMs)
    return this.events.map((event) => event.id)
  }

  /** The first event of this type as soon as it has come. */
  async first(type: string, timeoutMs = 15_000): Promise<EventRecord> {
    const find = () => this.events.find((event) => event.type === type)
    await this.#until(() => find() !== undefined, `a ${type}`, timeoutMs)
    return find() as EventRecord
  }

  #until(isThere: () => boolean, what: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`waited ${timeoutMs} ms in vain for ${what}; ${this.events.length} events came`))
      }, timeoutMs)
      this.#look = () => {
        if (!isThere()) return
        clearTimeout(timer)
        resolve()
      }
      this.#look()
    })
  }
}

/** A promise, and the function that resolves it. */
export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => {}
  const opened = new Promise<T>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
