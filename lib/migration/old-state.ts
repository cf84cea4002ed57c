/**
 * State in the original's keys alone.
 */

import { checkChange, type KeyedState } from './keyed-state.js'
import type { StatePlace } from './old-key.js'
import type { OldKeys } from './old-keys.js'
import { fromOldText, toOldText } from './old-text.js'

/** The state of one place in old keys. */
export class OldState implements KeyedState {
  readonly #keys: OldKeys
  readonly #place: StatePlace

  constructor(keys: OldKeys, place: StatePlace) {
    this.#keys = keys
    this.#place = place
  }

  async get(name: string): Promise<unknown> {
    const old = await this.#keys.read(this.#place, name)
    return old && fromOldText(old.text)
  }

  async set(name: string, value: unknown, { ttl }: { ttl?: number } = {}): Promise<void> {
    checkChange(value, ttl)
    await this.#keys.set(this.#place, name, toOldText(value), ttl)
  }

  async delete(name: string): Promise<void> {
    await this.#keys.delete(this.#place, name)
  }

  async list(prefix: string): Promise<string[]> {
    return [...new Set(await this.#keys.list(this.#place, prefix))].sort()
  }

  async patch(name: string, update: (previous: unknown) => unknown): Promise<unknown> {
    for (;;) {
      const old = await this.#keys.read(this.#place, name)
      const value = update(old && fromOldText(old.text))
      checkChange(value)
      if (await this.#keys.replace(this.#place, name, old?.text, toOldText(value))) return value
    }
  }
}
