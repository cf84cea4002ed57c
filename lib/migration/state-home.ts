/**
 * Where state is kept, as `state.provider` says.
 */

import type { EventEnvelope, QueueConfig, RunState as Surface } from '../../index.js'
import { type EventStore, placeOf } from '../event-store.js'
import type { RunState } from '../run-state.js'
import { DualState } from './dual-state.js'
import { EventState } from './event-state.js'
import { KeyedRunState } from './keyed-run-state.js'
import type { KeyedState } from './keyed-state.js'
import { placeOfRun, type StatePlace, sharedPlace } from './old-key.js'
import { type OldKeys, oldKeysOf } from './old-keys.js'
import { OldState } from './old-state.js'
import { RunValues } from './run-values.js'
import { SharedValues } from './shared-values.js'

export type Provider = NonNullable<NonNullable<QueueConfig['state']>['provider']>

/** All state of a store. */
export class StateHome {
  readonly #store: EventStore
  readonly #shared: SharedValues
  readonly provider: Provider
  readonly prefix: string
  /** The original's keys, unless only events count. */
  readonly keys: OldKeys | undefined

  constructor(store: EventStore, provider: Provider = 'eventStore') {
    const { prefix, options } = placeOf(store)
    this.#store = store
    this.#shared = new SharedValues(store, sharedPlace(prefix).stream)
    this.prefix = prefix
    this.provider = provider
    if (provider !== 'eventStore') this.keys = oldKeysOf(options)
  }

  /** The state of a run; `envelope` is added to what it writes. */
  ofRun(runId: string, envelope: EventEnvelope = {}): KeyedState {
    if (this.keys === undefined) return this.#store.state(runId, envelope) as RunState
    return this.#of(this.keys, placeOfRun(this.prefix, runId), envelope)
  }

  /** The same with what is asked of its past. */
  stateOf(runId: string, envelope: EventEnvelope = {}): Pick<Surface, keyof Surface> {
    const events = this.#store.state(runId, envelope) as RunState
    return this.keys === undefined ? events : new KeyedRunState(this.ofRun(runId, envelope), events)
  }

  /** State that belongs to no run. */
  shared(): KeyedState {
    const place = sharedPlace(this.prefix)
    return this.keys === undefined ? this.eventsOf(place) : this.#of(this.keys, place)
  }

  /** What events say of a place; `envelope` is added to what is written. */
  eventsOf(place: StatePlace, envelope: EventEnvelope = {}): EventState {
    const { runId } = place
    const values = runId === undefined ? this.#shared : new RunValues(this.#store.state(runId, envelope) as RunState)
    return new EventState(this.#store, place, values, envelope)
  }

  of(place: StatePlace): KeyedState {
    return place.runId === undefined ? this.shared() : this.ofRun(place.runId)
  }

  #of(keys: OldKeys, place: StatePlace, envelope?: EventEnvelope): KeyedState {
    if (this.provider === 'redis') return new OldState(keys, place)
    return new DualState(this.eventsOf(place, envelope), keys, place)
  }

  async close(): Promise<void> {
    await this.keys?.close()
  }
}
