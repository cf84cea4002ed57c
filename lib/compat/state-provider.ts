/**
 * The original's state provider.
 */

import type * as surface from '../../compat.js'
import { type EventStore, placeOf } from '../event-store.js'
import type { KeyedState } from '../migration/keyed-state.js'
import { placeOfRun, readKey, withoutNamespace, writeKey } from '../migration/old-key.js'
import { escapeGlob } from '../migration/old-keys.js'
import { StateHome } from '../migration/state-home.js'
import { checkLimit, checkName, checkOptions, invalid } from '../query.js'
import { type Source, sourceOf } from './source.js'

/** Makes the state provider of a store; documented in `compat.d.ts`. */
export function createStateProvider(
  given?: surface.StoreSource,
  options: surface.StateOptions = {},
): surface.StateProvider {
  const source = sourceOf(given)
  const { provider } = checkOptions(options, ['provider'])
  return new Provider(source, new StateHome(source.store, readProvider(provider ?? source.config?.state?.provider)))
}

function readProvider(provider: surface.StateOptions['provider'] = 'eventStore') {
  if (['eventStore', 'redis', 'dual'].includes(provider)) return provider
  throw invalid('provider', provider, "'eventStore', 'redis' or 'dual'")
}

export class Provider implements surface.StateProvider {
  readonly #source: Source
  readonly #home: StateHome

  constructor(source: Source, home: StateHome) {
    this.#source = source
    this.#home = home
  }

  async get<T>(key: string): Promise<T | null> {
    const { state, name } = this.#find(key)
    return ((await state.get(name)) ?? null) as T | null
  }

  async set(key: string, value: unknown, options: { ttl?: number } = {}): Promise<void> {
    const { state, name } = this.#find(key)
    if (value === undefined) return await state.delete(name)
    const { ttl } = checkOptions(options ?? {}, ['ttl'])
    await state.set(name, value, ttl ? { ttl } : {})
  }

  async delete(key: string): Promise<void> {
    const { state, name } = this.#find(key)
    await state.delete(name)
  }

  async list(prefix: string, options: { limit?: number } = {}): Promise<{ keys: string[] }> {
    const limit = checkLimit(checkOptions(options ?? {}, ['limit']).limit) ?? Number.POSITIVE_INFINITY
    const keys: string[] = []
    for await (const key of this.#list(withoutNamespace(this.#home.prefix, checkName(prefix, 'prefix')))) {
      if (keys.length >= limit) break
      keys.push(key)
    }
    return { keys }
  }

  // What is retried is only what somebody else's change came before, until it succeeds.
  async patch<T>(key: string, update: (previous: T | null) => T, _options?: { retries?: number }): Promise<T> {
    if (typeof update !== 'function') throw invalid('update', update, 'a function')
    const { state, name } = this.#find(key)
    return (await state.patch(name, (previous) => update((previous ?? null) as T | null))) as T
  }

  async close(): Promise<void> {
    await this.#home.close()
    if (this.#source.isOwn) await this.#source.store.close()
  }

  #find(key: string): { state: KeyedState; name: string } {
    const { place, name } = readKey(this.#home.prefix, key)
    return { state: this.#home.of(place), name }
  }

  async *#list(prefix: string): AsyncGenerator<string> {
    const [, runId, name] = /^flow:([^:]+):(.*)$/s.exec(prefix) ?? []
    if (runId !== undefined) {
      yield* await this.#listRun(runId, name ?? '')
      return
    }
    if (!prefix.startsWith('flow:')) yield* await this.#home.shared().list(prefix)
    if (!'flow:'.startsWith(prefix) && !prefix.startsWith('flow:')) return
    for (const each of await this.#runs(prefix.slice('flow:'.length))) yield* await this.#listRun(each, '')
  }

  async #listRun(runId: string, prefix: string): Promise<string[]> {
    const names = await this.#home.ofRun(runId).list(prefix)
    return names.map((name) => writeKey(placeOfRun(this.#home.prefix, runId), name))
  }

  /** The runs whose ids begin like this, in ascending order. */
  async #runs(begin: string): Promise<string[]> {
    const runs = `${this.#home.prefix}:flow:`
    const pattern = `${escapeGlob(runs + begin)}*`
    const ids = new Set<string>()
    for await (const { stream } of this.#source.store.streams(pattern)) ids.add(stream.slice(runs.length))
    for await (const keys of this.#home.keys?.scan(pattern) ?? []) {
      for (const key of keys) ids.add(key.slice(runs.length).replace(/:.*$/s, ''))
    }
    return [...ids].sort()
  }
}

/** The store's prefix, for those that only name things. */
export const prefixOf = (store: EventStore) => placeOf(store).prefix
