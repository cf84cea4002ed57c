/**
 * The original's event store factory.
 */

import type * as surface from '../../compat.js'
import { NuxtQueueError } from '../errors.js'
import { checkOptions } from '../query.js'
import { Adapter } from './adapter.js'
import { sourceOf } from './source.js'

/** Makes the factory of a store; documented in `compat.d.ts`. */
export function createEventStoreFactory(
  given?: surface.StoreSource,
  options: surface.FactoryOptions = {},
): surface.EventStoreFactory {
  const { createWiringRegistry } = checkOptions(options, ['createWiringRegistry'])
  const source = sourceOf(given)
  const { prefix } = source.place
  const adapter = new Adapter(source)
  const names: surface.StreamNames = {
    flow: (runId) => `${prefix}:flow:${runId}`,
    flowIndex: (flowName) => `${prefix}:flows:${flowName}`,
  }
  return new Factory(adapter, names, createWiringRegistry)
}

class Factory implements surface.EventStoreFactory {
  readonly adapter: surface.EventStoreAdapter
  readonly names: surface.StreamNames
  readonly #createWiring: surface.FactoryOptions['createWiringRegistry']
  #wiring: surface.Wiring | undefined

  constructor(
    adapter: surface.EventStoreAdapter,
    names: surface.StreamNames,
    createWiring: surface.FactoryOptions['createWiringRegistry'],
  ) {
    if (createWiring !== undefined && typeof createWiring !== 'function') {
      throw new NuxtQueueError('NQ_CONFIG', 'createWiringRegistry is not a function.')
    }
    this.adapter = adapter
    this.names = names
    this.#createWiring = createWiring
    // The original takes methods out of it.
    this.stream = this.stream.bind(this)
    this.start = this.start.bind(this)
    this.stop = this.stop.bind(this)
  }

  stream(name: string): surface.EventStoreInstance {
    const { adapter } = this
    return {
      name,
      append: (subject, event) => adapter.append(subject, event),
      read: (subject, options) => adapter.read(subject, options),
      subscribe: (subject, onEvent) => adapter.subscribe(subject, onEvent),
    }
  }

  start(): void {
    if (this.#wiring !== undefined || this.#createWiring === undefined) return
    this.#wiring = this.#createWiring({ adapter: this.adapter, names: this.names })
    this.#wiring.start()
  }

  stop(): void {
    this.#wiring?.stop()
    this.#wiring = undefined
  }
}
