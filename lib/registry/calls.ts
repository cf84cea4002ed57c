/**
 * The calls of the native registry: JSON over and JSON back.
 */

import type { InstanceInfo, RegisteredFlow, WorkerInfo, WorkerStep } from '../../index.js'
import type { NativeRegistry } from '../../native.cjs'
import type { Bridge } from '../bridge.js'
import { rethrowing, unwrap } from '../errors.js'

/** What an instance says of itself. */
export interface InstanceOptions {
  instanceId: string
  version?: string | undefined
  /** Which runs of other versions it takes. */
  strategy?: 'strict' | 'latest' | 'mixed' | undefined
  /** In milliseconds. */
  heartbeatInterval: number
  /** In milliseconds; 0: it never counts as dead. */
  heartbeatTimeout: number
}

/** A worker and what it offers. */
export interface WorkerOffer {
  workerId: string
  queue: string
  flows?: string[]
  /** Steps of any flow, or `flow/step`. */
  handlers?: string[]
  steps?: WorkerStep[]
}

/** A step that has to be there. */
export interface RequiredStep {
  stepName: string
  queue: string
}

/** A step that is to be taken by a worker. */
export interface WaitingStep extends RequiredStep {
  flowName: string
  /** The version of the code that it is to run in. */
  version?: string
}

/** What each method takes and gives. */
interface Calls {
  start: [undefined, null]
  beat: [undefined, null]
  drain: [undefined, null]
  shutDown: [undefined, null]
  registerWorker: [WorkerOffer, null]
  registerStep: [WorkerStep & { workerId: string }, null]
  deregisterWorker: [{ workerId: string }, null]
  instances: [undefined, InstanceInfo[]]
  workers: [undefined, WorkerInfo[]]
  healthyInstances: [undefined, string[]]
  queueHandlers: [{ queue: string }, string[]]
  flow: [{ name: string; version?: string; strategy?: string }, RegisteredFlow | null]
  missing: [{ name: string; required: RequiredStep[] }, { missing: string[]; revision: number }]
  unavailable: [WaitingStep, string | null]
  changed: [{ revision: number }, boolean]
}

/** A method of the native registry. */
export type CallName = keyof Calls
export type Request<N extends CallName> = Calls[N][0]
export type Answer<N extends CallName> = Calls[N][1]

type Methods = { [name in CallName]: (ticket: number, request: string) => string | null }

/** The native registry of a store. */
export class RegistryCalls {
  readonly #bridge: Bridge
  readonly #native: NativeRegistry

  constructor(bridge: Bridge, options: InstanceOptions) {
    this.#bridge = bridge
    this.#native = rethrowing(() => bridge.store.registry(JSON.stringify(options)))
  }

  /** Calls a method. `background`: it must not keep Node alive. */
  async call<N extends CallName>(name: N, request: Request<N>, background = false): Promise<Answer<N>> {
    const packed = JSON.stringify(request ?? {})
    const methods = this.#native as Methods
    return JSON.parse(unwrap(await this.#bridge.call((ticket) => methods[name](ticket, packed), background)))
  }

  /** Signs of life from a thread of their own, from now on. */
  keepBeating(): void {
    rethrowing(() => this.#native.keepBeating())
  }

  /** The event loop runs, and says so again within so many milliseconds. */
  tick(everyMs: number): void {
    this.#native.tick(everyMs)
  }
}
