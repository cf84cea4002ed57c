/**
 * Subscriptions that the definitions of flows name, on their way to the record: `define` does not wait for them, and
 * whoever fires a trigger does.
 */

import type { FlowDefinition } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError } from '../errors.js'
import { warn } from '../warn.js'
import { modeName } from './mode.js'

/** The pause after a failure, in real time. */
const RETRY_MS = 1000

interface Wanted {
  flowName: string
  triggers: string[]
  mode: 'auto' | 'manual' | 'function'
}

/** Makes the subscriptions of flows those of their definitions. */
export class Registrations {
  readonly #engine: Engine
  /** What is not recorded yet, by flow. */
  readonly #wanted = new Map<string, Wanted>()
  /** The triggers that the latest definition of a flow names. */
  readonly #named = new Map<string, string[]>()
  /** Flows that name no triggers. An earlier version of them may have. */
  readonly #without = new Set<string>()
  #recording: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #failed = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Those of a flow that was defined. */
  add({ name: flowName, triggers }: FlowDefinition): void {
    const names = triggers?.subscribe ?? []
    const mode = modeName(triggers?.mode)
    // A function of an earlier version has nothing to say any more.
    for (const name of this.#named.get(flowName) ?? []) this.#engine.code.setMode(name, flowName, undefined)
    for (const name of names) this.#engine.code.setMode(name, flowName, triggers?.mode)
    this.#named.set(flowName, names)
    if (names.length === 0 && !this.#engine.flows.subscribes(flowName)) {
      this.#without.add(flowName)
      return
    }
    this.#without.delete(flowName)
    this.#wanted.set(flowName, { flowName, triggers: names, mode })
    this.#recordSoon()
  }

  /** The triggers that others have registered are known now. */
  loaded(): void {
    for (const flowName of this.#without) {
      if (this.#engine.flows.subscribes(flowName)) this.#wanted.set(flowName, { flowName, triggers: [], mode: 'auto' })
    }
    this.#without.clear()
    if (this.#wanted.size > 0) this.#recordSoon()
  }

  /** Waits until all are recorded, or throws why they can't be. */
  async done(): Promise<void> {
    while (this.#wanted.size > 0) await this.#record()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #recordSoon(): void {
    this.#engine.activity
      .track(() => this.#record())
      .then(
        () => {
          this.#failed = false
        },
        (error: unknown) => {
          if (this.#engine.isClosed) return
          if (!this.#failed)
            warn('Subscriptions of flows could not be recorded; this is tried again', error, 'NQ_SUBSCRIBE')
          this.#failed = true
          this.#timer = setTimeout(() => this.#recordSoon(), RETRY_MS).unref()
        },
      )
  }

  async #record(): Promise<void> {
    this.#recording ??= this.#recordAll().finally(() => {
      this.#recording = undefined
    })
    await this.#recording
  }

  async #recordAll(): Promise<void> {
    for (const wanted of [...this.#wanted.values()]) {
      try {
        await this.#engine.call('subscribeDefined', wanted)
      } catch (error) {
        if (!(error instanceof NuxtQueueError) || error.code !== 'NQ_VALIDATION') throw error
        // It will never be otherwise until one of the two is mended.
        warn(`The flow ${wanted.flowName} does not subscribe to its triggers`, error, 'NQ_SUBSCRIBE')
      }
      if (this.#wanted.get(wanted.flowName) === wanted) this.#wanted.delete(wanted.flowName)
    }
  }
}
