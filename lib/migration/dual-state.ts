/**
 * State in events and in the original's keys at the same time, while some instances of an application know only one of
 * the two.
 *
 * Every change is an event first, and is written into the key then. A read compares: what was written into a key since
 * by somebody who knows nothing of events counts; otherwise events do, and where they say nothing, the key.
 */

import type { ReadOptions } from '../../index.js'
import type { EventState } from './event-state.js'
import type { KeyedState } from './keyed-state.js'
import type { StatePlace } from './old-key.js'
import type { OldKeys, OldValue } from './old-keys.js'
import { fromOldText, toOldText } from './old-text.js'

/** The state of one place in both. */
export class DualState implements KeyedState {
  readonly #events: EventState
  readonly #keys: OldKeys
  readonly #place: StatePlace

  constructor(events: EventState, keys: OldKeys, place: StatePlace) {
    this.#events = events
    this.#keys = keys
    this.#place = place
  }

  async get(name: string, options?: ReadOptions): Promise<unknown> {
    const [value, old] = await Promise.all([this.#events.get(name, options), this.#keys.read(this.#place, name)])
    if (old === undefined) return value
    if (old.mirrored === 'other') return fromOldText(old.text)
    if (value !== undefined && toOldText(value) === old.text) return value
    return await this.#decide(name, old)
  }

  /** What the events seemed to say is not what the key says. */
  async #decide(name: string, old: OldValue): Promise<unknown> {
    const value = await this.#events.get(name, { consistency: 'strong' })
    const isNew = old.mirrored === undefined && value === undefined && !(await this.#events.knows(name))
    return isNew ? fromOldText(old.text) : value
  }

  async set(name: string, value: unknown, { ttl }: { ttl?: number } = {}): Promise<void> {
    const id = await this.#events.put(name, value, { ttl })
    await this.#keys.mirror(this.#place, name, id, toOldText(value), ttl)
  }

  async delete(name: string): Promise<void> {
    const id = await this.#events.remove(name)
    await this.#keys.mirrorDelete(this.#place, name, id)
  }

  async list(prefix: string): Promise<string[]> {
    const [known, old] = await Promise.all([this.#events.list(prefix), this.#keys.list(this.#place, prefix)])
    const names = new Set(known)
    for (const name of old) if (!names.has(name) && (await this.get(name)) !== undefined) names.add(name)
    return [...names].sort()
  }

  async patch(name: string, update: (previous: unknown) => unknown): Promise<unknown> {
    const read = () => this.get(name, { consistency: 'strong' })
    const { id, value } = await this.#events.replace(name, read, update)
    await this.#keys.mirror(this.#place, name, id, toOldText(value))
    return value
  }
}
