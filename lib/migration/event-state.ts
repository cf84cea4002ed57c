/**
 * State as events of a stream.
 */

import type { EventEnvelope, ReadOptions } from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import { type EventStore, placeOf } from '../event-store.js'
import type { AnyEvent } from '../pack.js'
import { timestampOf } from '../time.js'
import { checkChange, type KeyedState } from './keyed-state.js'
import type { StatePlace } from './old-key.js'

/** What a name is set to. */
export interface Change {
  name: string
  value: unknown
  /** In milliseconds. */
  ttl?: number | undefined
}

/** What the events of a stream amount to. */
export interface EventValues {
  get(name: string, options?: ReadOptions): Promise<unknown>
  list(prefix: string): Promise<string[]>
  /** Whether an event ever said anything of a name. */
  knows(name: string): Promise<boolean>
}

/** The state of one place in events, whose writes tell their ids. */
export class EventState implements KeyedState {
  readonly #store: EventStore
  readonly #place: StatePlace
  readonly #values: EventValues
  readonly #envelope: EventEnvelope

  constructor(store: EventStore, place: StatePlace, values: EventValues, envelope: EventEnvelope = {}) {
    const { runId } = place
    this.#store = store
    this.#place = place
    this.#values = values
    this.#envelope = { ...envelope, ...(runId !== undefined && { runId }) }
  }

  get(name: string, options?: ReadOptions): Promise<unknown> {
    return this.#values.get(name, options)
  }

  list(prefix: string): Promise<string[]> {
    return this.#values.list(prefix)
  }

  knows(name: string): Promise<boolean> {
    return this.#values.knows(name)
  }

  async set(name: string, value: unknown, options: { ttl?: number } = {}): Promise<void> {
    await this.put(name, value, options)
  }

  async delete(name: string): Promise<void> {
    await this.remove(name)
  }

  async patch(name: string, update: (previous: unknown) => unknown): Promise<unknown> {
    const { value } = await this.replace(name, () => this.get(name, { consistency: 'strong' }), update)
    return value
  }

  /** Sets a name; the id of the event. */
  async put(
    name: string,
    value: unknown,
    { ttl, after }: { ttl?: number | undefined; after?: string } = {},
  ): Promise<string> {
    checkChange(value, ttl)
    return await this.#append('state.set', this.#data(name, value, ttl), after)
  }

  /** Sets names, provided that `after` is still the last event; the ids of the events. */
  async putAll(changes: readonly Change[], after: string): Promise<string[]> {
    const events = changes.map(({ name, value, ttl }) => this.#event('state.set', this.#data(name, value, ttl)))
    const records = await this.#store.appendBatch(this.#place.stream, events, { expectedLastId: after })
    return records.map(({ id }: { id: string }) => id)
  }

  /** Deletes a name; the id of the event. */
  async remove(name: string): Promise<string> {
    return await this.#append('state.delete', { key: name })
  }

  /** Sets what `update` makes of what `read` gives, provided that no event has come since it was read. */
  async replace(
    name: string,
    read: () => Promise<unknown>,
    update: (previous: unknown) => unknown,
  ): Promise<{ id: string; value: unknown }> {
    for (;;) {
      const after = await this.lastId()
      const value = update(await read())
      try {
        return { id: await this.put(name, value, { after }), value }
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
  }

  /** How long names still live that expire, in milliseconds. */
  async ttls(): Promise<Map<string, number>> {
    const { now } = placeOf(this.#store)
    const ttls = new Map<string, number>()
    const query = { stream: this.#place.stream, types: ['state.*' as const] }
    for await (const { type, data } of this.#store.iterate(query)) {
      if (type === 'state.set' && data.expiresAt) ttls.set(data.key, Math.max(Date.parse(data.expiresAt) - now(), 1))
      else if (type === 'state.set' || type === 'state.delete') ttls.delete(data.key)
      else if (type === 'state.batch') for (const { key } of data.operations) ttls.delete(key)
    }
    return ttls
  }

  /** The id of the stream's last event; `0-0` if there is none. */
  async lastId(): Promise<string> {
    const { stream } = this.#place
    const [last] = await this.#store.query({ stream, order: 'desc', limit: 1, consistency: 'strong' })
    return last?.id ?? '0-0'
  }

  #data(key: string, value: unknown, ttl: number | undefined): object {
    if (ttl === undefined) return { key, value }
    const { now } = placeOf(this.#store)
    return { key, value, expiresAt: timestampOf(`${Math.ceil(now() + ttl)}-0`) }
  }

  #event(type: string, data: object): AnyEvent {
    return { type, data, ...this.#envelope }
  }

  async #append(type: string, data: object, expectedLastId?: string): Promise<string> {
    const event = this.#event(type, data)
    const options = expectedLastId === undefined ? undefined : { expectedLastId }
    return (await this.#store.append(this.#place.stream, event, options)).id
  }
}

/** Whether somebody else came first. */
export function isConflict(error: unknown): boolean {
  return error instanceof NuxtQueueError && error.code === 'NQ_CONFLICT'
}
