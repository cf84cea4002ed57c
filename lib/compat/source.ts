/**
 * The store behind what is made here: a given one, or one that is opened by a configuration.
 */

import type * as surface from '../../compat.js'
import type { QueueConfig, QueueCore, StoreOptions } from '../../index.js'
import { readConfig } from '../config.js'
import { NuxtQueueError, shown } from '../errors.js'
import { EventStore, openLazily, placeOf, type StorePlace } from '../event-store.js'
import { warn } from '../warn.js'

const ADAPTERS = ['memory', 'file', 'redis', 'postgres']

/** Members that only the configuration of a whole core has. */
const CORE_MEMBERS = ['eventStore', 'flows', 'triggers', 'jobs', 'logging', 'registry', 'state']

/** A store, and what is known of where it came from. */
export interface Source {
  readonly store: EventStore
  readonly place: StorePlace
  /** Whether it was opened here, so that nobody else closes it. */
  readonly isOwn: boolean
  readonly core?: QueueCore
  readonly config?: QueueConfig
}

/** Reads what is a store or a core: something that is made for one job has nobody who would close it. */
export function knownSourceOf(given: surface.KnownSource): Source {
  const isKnown = (value: unknown) => value instanceof EventStore
  if (
    typeof given === 'object' &&
    given !== null &&
    (isKnown(given) || isKnown((given as { store?: unknown }).store))
  ) {
    return sourceOf(given)
  }
  throw new NuxtQueueError('NQ_CONFIG', `The store is ${shown(given)}; expected a store or a core.`)
}

/** Reads what somebody gave as a source; opens a store if it is a configuration, without waiting for its backend. */
export function sourceOf(given: surface.StoreSource = {}): Source {
  if (typeof given !== 'object' || given === null) {
    throw new NuxtQueueError('NQ_CONFIG', `The store is ${shown(given)}; expected a store, a core or a configuration.`)
  }
  const known: unknown = given
  if (known instanceof EventStore) return { store: known, place: placeOf(known), isOwn: false }
  const { store: ofCore } = given as { store?: unknown }
  if (ofCore instanceof EventStore) {
    return { store: ofCore, place: placeOf(ofCore), isOwn: false, core: given as QueueCore }
  }
  const isOfCore = CORE_MEMBERS.some((member) => member in given)
  const config = (isOfCore ? given : { eventStore: given }) as QueueConfig
  const store = openLazily(readConfig({ ...config, eventStore: withKnownAdapter(config.eventStore) }).store)
  return { store, place: placeOf(store), isOwn: true, config }
}

/** The original takes an adapter that it does not know for memory. */
function withKnownAdapter(options: StoreOptions = {}): StoreOptions {
  const { adapter } = options
  if (adapter === undefined || ADAPTERS.includes(adapter)) return options
  const reason = `known are ${ADAPTERS.join(', ')}`
  warn(
    `There is no adapter ${shown(adapter)}; events are kept in memory, and end with the process`,
    reason,
    'NQ_COMPAT',
  )
  const { redis: _redis, ...others } = options
  return { ...others, adapter: 'memory' }
}
