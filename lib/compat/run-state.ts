/**
 * The state of a run as a worker of the original sees it: what is absent is `null`, and names are as its driver made them.
 */

import type * as surface from '../../compat.js'
import type { RunState as Core, HistoryEntry, Point, StateDiff } from '../../index.js'
import { normalise } from '../migration/old-key.js'

type Values = Record<string, unknown>

export class ScopedState implements surface.RunState {
  readonly #state: Pick<Core, keyof Core>

  constructor(state: Pick<Core, keyof Core>) {
    this.#state = state
  }

  async get<T>(key: string): Promise<T | null> {
    return ((await this.#state.get(normalise(key))) ?? null) as T | null
  }

  async set(key: string, value: unknown, options?: { ttl?: number }): Promise<void> {
    if (value === undefined) await this.delete(key)
    else await this.#state.set(normalise(key), value, options?.ttl ? { ttl: options.ttl } : {})
  }

  delete(key: string): Promise<void> {
    return this.#state.delete(normalise(key))
  }

  has(key: string): Promise<boolean> {
    return this.#state.has(normalise(key))
  }

  getAll(): Promise<Values> {
    return this.#state.getAll()
  }

  setBatch(values: Values): Promise<void> {
    const named = Object.entries(values).map(([key, value]) => [normalise(key), value])
    return this.#state.setBatch(Object.fromEntries(named))
  }

  async patch<T>(key: string, update: (previous: T | null) => T): Promise<T> {
    return (await this.#state.patch(normalise(key), (previous) => update((previous ?? null) as T | null))) as T
  }

  list(prefix = ''): Promise<string[]> {
    return this.#state.list(prefix)
  }

  at(point: Point): Promise<Values> {
    return this.#state.at(point)
  }

  history(key?: string): Promise<HistoryEntry[]> {
    return this.#state.history(key === undefined ? undefined : normalise(key))
  }

  diff(a: Point, b: Point): Promise<StateDiff> {
    return this.#state.diff(a, b)
  }
}
