/**
 * The state of a run wherever it is kept; what is asked of its past is answered by its events.
 */

import type * as surface from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import type { RunState } from '../run-state.js'
import { checkChange, type KeyedState } from './keyed-state.js'

type Values = Record<string, unknown>

/** Like the state of a run in events alone; a batch is written name by name. */
export class KeyedRunState implements Pick<surface.RunState, keyof surface.RunState> {
  readonly #state: KeyedState
  readonly #events: RunState

  constructor(state: KeyedState, events: RunState) {
    this.#state = state
    this.#events = events
  }

  get(key: string): Promise<unknown> {
    return this.#state.get(key)
  }

  async getAll(): Promise<Values> {
    const names = await this.#state.list('')
    const values = await Promise.all(names.map((name) => this.#state.get(name)))
    const present = names.map((name, index) => [name, values[index]]).filter(([, value]) => value !== undefined)
    return Object.fromEntries(present)
  }

  async has(key: string): Promise<boolean> {
    return (await this.#state.get(key)) !== undefined
  }

  async set(key: string, value: unknown, options?: { ttl?: number }): Promise<void> {
    checkChange(value, options?.ttl)
    await this.#state.set(key, value, options)
  }

  delete(key: string): Promise<void> {
    return this.#state.delete(key)
  }

  async setBatch(values: Values): Promise<void> {
    const entries = Object.entries(values).filter(([, value]) => value !== undefined)
    await Promise.all(entries.map(([key, value]) => this.set(key, value)))
  }

  // biome-ignore lint/suspicious/noExplicitAny: index.d.ts types the value
  patch(key: string, update: (previous: any) => unknown): Promise<any> {
    return this.#state.patch(key, update)
  }

  list(prefix = ''): Promise<string[]> {
    return this.#state.list(prefix)
  }

  at(point: surface.Point): Promise<Values> {
    return this.#events.at(point)
  }

  history(key?: string): Promise<surface.HistoryEntry[]> {
    return this.#events.history(key)
  }

  diff(a: surface.Point, b: surface.Point): Promise<surface.StateDiff> {
    return this.#events.diff(a, b)
  }

  /** A snapshot stands for the events before it, and would hide what is in keys only. */
  async snapshot(): Promise<surface.EventRecord<'state.snapshot'>> {
    throw new NuxtQueueError('NQ_CONFIG', "There are no snapshots as long as state.provider is not 'eventStore'.")
  }
}
