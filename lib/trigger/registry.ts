/**
 * The triggers that all instances have registered, as this process has heard of them.
 */

import type { RegisteredTrigger, TriggerDefinition } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError, shown } from '../errors.js'
import type { KnownTrigger } from '../native-flows.js'

/** Reads what the native side has folded; each trigger is parsed once. */
export class Registry {
  readonly #engine: Engine
  readonly #parsed = new Map<string, KnownTrigger | undefined>()
  #revision = -1

  constructor(engine: Engine) {
    this.#engine = engine
  }

  get(name: string): KnownTrigger | undefined {
    this.#refresh()
    if (!this.#parsed.has(name)) {
      // Anybody may ask for any name.
      if (this.#parsed.size > 10_000) this.#parsed.clear()
      this.#parsed.set(name, this.#engine.flows.trigger(name))
    }
    return this.#parsed.get(name)
  }

  all(): KnownTrigger[] {
    return this.#engine.flows.allTriggers()
  }

  /** Also what others have registered just now, or throws `NQ_NOT_FOUND`. */
  async find(name: string): Promise<KnownTrigger> {
    let known = this.get(name)
    if (known === undefined) {
      await this.#engine.flows.refreshTriggers()
      known = this.get(name)
    }
    if (known !== undefined) return known
    throw new NuxtQueueError('NQ_NOT_FOUND', `There is no trigger ${shown(name)}; register it first.`)
  }

  /** A trigger that can be fired here. Throws `NQ_CONFIG` if it has code where it was registered that this process lacks. */
  async findUsable(name: string): Promise<KnownTrigger | undefined> {
    if (this.#missing(this.get(name)).length > 0) await this.#engine.flows.refreshTriggers()
    const known = this.get(name)
    const missing = this.#missing(known)
    if (missing.length === 0) return known
    const what = `The trigger ${shown(name)} has ${missing.join(', ')}, which this process does not have`
    throw new NuxtQueueError('NQ_CONFIG', `${what}; register it here, too, before it is fired.`)
  }

  #missing(known: KnownTrigger | undefined): string[] {
    const needed = known?.definition.code?.filter((part) => part !== 'secrets' && part !== 'verify') ?? []
    return known === undefined ? [] : this.#engine.code.missing(known.definition.name, needed)
  }

  /** The definition as it was given, as far as its code is here, and with its secrets. */
  restore({ definition }: KnownTrigger): TriggerDefinition {
    const { schema, transform, filter, verify, secrets } = this.#engine.code.get(definition)
    const { code, endpoint, config, ...plain } = definition
    const auth = endpoint?.auth && {
      ...endpoint.auth,
      ...(secrets !== undefined && { secret: secrets }),
      ...(verify !== undefined && { verify }),
    }
    return {
      ...plain,
      ...(schema !== undefined && { schema }),
      ...(transform !== undefined && { transform }),
      ...(endpoint !== undefined && { endpoint: { ...endpoint, ...(auth !== undefined && { auth }) } }),
      ...((config !== undefined || filter !== undefined) && { config: { ...config, ...(filter && { filter }) } }),
    } as TriggerDefinition
  }

  /** What others may see of it. */
  show(known: KnownTrigger): RegisteredTrigger {
    const { endpoint, ...rest } = this.restore(known)
    const { enabled, subscribers } = known
    if (endpoint?.auth === undefined) return { ...rest, ...(endpoint && { endpoint }), enabled, subscribers }
    const { secret: _hidden, ...auth } = endpoint.auth
    return { ...rest, endpoint: { ...endpoint, auth }, enabled, subscribers }
  }

  #refresh(): void {
    const revision = this.#engine.flows.triggerRevision()
    if (revision === this.#revision) return
    this.#parsed.clear()
    this.#revision = revision
  }
}
