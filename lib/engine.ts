/**
 * What flows, triggers and workers of a core share: native calls, the way to the queues, the steps that run here.
 */

import type { StepHandler, StepJob } from '../index.js'
import { Activity } from './activity.js'
import { Deadlines } from './deadlines.js'
import type { Dispatcher, DispatchOptions } from './dispatch/dispatcher.js'
import { NuxtQueueError } from './errors.js'
import { bridgeOf, type EventStore } from './event-store.js'
import { Executions } from './executions.js'
import type { FlowSchemas } from './flow-definition.js'
import type { LogRouter } from './log/router.js'
import type { StateHome } from './migration/state-home.js'
import { type Answer, type CallName, type Debt, FlowCalls, type Request } from './native-flows.js'
import { Availability } from './registry/availability.js'
import { type InstanceOptions, RegistryCalls } from './registry/calls.js'
import { Offers } from './registry/offers.js'
import { Presence } from './registry/presence.js'
import { Sweeper } from './sweeper.js'
import type { Telemetry } from './telemetry/telemetry.js'
import type { Timers } from './timers.js'
import { Registrations } from './trigger/registrations.js'
import { LocalCode } from './trigger/trigger-code.js'
import { warn } from './warn.js'

export interface EngineOptions {
  store: EventStore
  timers: Timers
  /** Whether a test moves the clock. */
  isVirtual: boolean
  /** This process among others. */
  instance: InstanceOptions
  /** First part of the names of the runs' streams. */
  prefix: string
  /** Whether others work on the same runs. */
  isShared: boolean
  /** Whether events outlive this process, and its jobs do not. */
  outlivesJobs: boolean
  /** Makes the dispatcher, when it is needed for the first time. */
  dispatcher: () => Dispatcher
  /** Where the lines of runs go. */
  logs: LogRouter
  /** Where the state of runs is kept. */
  states: StateHome
  /** Who is told what happens here, if anybody. */
  telemetry: Telemetry | undefined
  /** How long a step may wait before its job ends, in milliseconds. */
  suspendAfter: number
  /** The URL of an await that is answered over HTTP. */
  webhookUrl: (runId: string, awaitId: string) => string
}

/** Flows at work in this process. */
export class Engine {
  readonly options: EngineOptions
  readonly flows: FlowCalls
  readonly registry: RegistryCalls
  readonly activity = new Activity()
  readonly executions = new Executions()
  /** The schemas of the flows that were defined here, by flow. */
  readonly schemas = new Map<string, FlowSchemas>()
  /** The handlers of each worker that is open, by queue. */
  readonly handlers = new Map<string, Set<ReadonlyMap<string, StepHandler>>>()
  /** The code of triggers and subscriptions in this process. */
  readonly code = new LocalCode()
  readonly registrations: Registrations
  readonly deadlines: Deadlines
  readonly sweeper: Sweeper
  /** What the workers of this process say that they do. */
  readonly offers: Offers
  readonly presence: Presence
  readonly availability: Availability
  #dispatcher: Dispatcher | undefined
  #closed = false

  constructor(options: EngineOptions) {
    this.options = options
    const { version, strategy } = options.instance
    // First, as it says what of its options can't work.
    this.registry = new RegistryCalls(bridgeOf(options.store), options.instance)
    this.flows = new FlowCalls(bridgeOf(options.store), { version, strategy })
    this.availability = new Availability(this)
    this.offers = new Offers(this.registry)
    const { timers, isVirtual, instance } = options
    const heartbeatInterval = instance.heartbeatTimeout === 0 ? undefined : instance.heartbeatInterval
    this.presence = new Presence(this.registry, { activity: this.activity, timers, isVirtual, heartbeatInterval })
    this.deadlines = new Deadlines(this)
    this.sweeper = new Sweeper(this)
    this.registrations = new Registrations(this)
  }

  /** The handler of a step, whichever worker of its queue has it. */
  handlerOf({ queue, name, data }: StepJob): StepHandler | undefined {
    const workers = [...(this.handlers.get(queue) ?? [])]
    for (const key of [`${data.flowName}/${name}`, name]) {
      const worker = workers.find((handlers) => handlers.has(key))
      if (worker) return worker.get(key)
    }
    return undefined
  }

  /** The id of this process in events. */
  get instanceId(): string {
    return this.options.instance.instanceId
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Calls the native engine. */
  call<N extends CallName>(name: N, request: Request<N>): Promise<Answer<N>> {
    return this.activity.track(() => this.flows.call(name, request))
  }

  get telemetry(): Telemetry | undefined {
    return this.options.telemetry
  }

  /** A run has ended, and this process has recorded that. Nobody waits for who is told. */
  runEnded(runId: string): void {
    if (this.telemetry === undefined) return
    void this.activity.track(async () => {
      try {
        await this.telemetry?.runEnded(() => this.call('status', { runId }))
      } catch (error) {
        if (!this.#closed) warn(`The end of run ${runId} could not be traced`, error, 'NQ_TELEMETRY')
      }
    })
  }

  /** The name of a run's stream. */
  streamOf(runId: string): string {
    return `${this.options.prefix}:flow:${runId}`
  }

  /**
   * Calls a method after which jobs are owed: it notes so for the run, since this process may end before they are
   * handed over. If it was refused, there is nothing to hand over.
   */
  async callOwing<N extends 'start' | 'emit' | 'resolveAwait' | 'cancelAwait'>(
    name: N,
    request: Request<N>,
  ): Promise<Answer<N>> {
    try {
      return await this.call(name, request)
    } catch (error) {
      if (isRefusal(error) && request.runId !== undefined) this.#confirm([request.runId])
      else this.sweeper.expect()
      throw error
    }
  }

  /** Brings jobs to their queues. */
  async dispatch(jobs: readonly StepJob[], options?: DispatchOptions): Promise<void> {
    if (jobs.length === 0) return
    await this.activity.track(async () => {
      try {
        await this.dispatcher().dispatch(this.telemetry?.sign(jobs) ?? jobs, options)
      } catch (error) {
        throw toHandOverError(jobs, error)
      }
      this.availability.watch(jobs)
    })
  }

  /** Brings jobs to their queues that are owed, for each call that noted so. */
  async handOver(runIds: readonly string[], jobs: readonly StepJob[]): Promise<void> {
    try {
      await this.dispatch(jobs)
    } catch (error) {
      this.sweeper.expect()
      throw error
    }
    for (const runId of runIds) this.#confirmOnceGone(runId)
  }

  /** Whether jobs of a run are in this process. */
  holds(runId: string): boolean {
    return this.#whenGone(runId) !== undefined
  }

  /** The jobs of a run that an engine owed were handed over. */
  async settleDebt({ runId, note }: Debt): Promise<void> {
    if (this.holds(runId)) this.#confirmOnceGone(runId)
    else await this.flows.settleDebt(note)
  }

  /** The same for a call that has done its part: what fails is repeated later. */
  async handOverOrWarn(runIds: readonly string[], jobs: readonly StepJob[]): Promise<void> {
    try {
      await this.handOver(runIds, jobs)
    } catch (error) {
      if (!this.#closed) warn('Jobs could not be handed over; this is tried again', error, 'NQ_HAND_OVER')
    }
  }

  /** Jobs that end with this process are owed until they are done: the next one finds them by that. */
  #confirmOnceGone(runId: string): void {
    const gone = this.#whenGone(runId)
    if (gone === undefined) this.#confirm([runId])
    else void gone.then(() => this.#confirm([runId]))
  }

  #whenGone(runId: string): Promise<void> | undefined {
    return this.options.outlivesJobs ? this.#dispatcher?.whenGone?.(runId) : undefined
  }

  /** Nobody has to wait for it: what is not confirmed is handed over again, which is harmless. */
  #confirm(runIds: readonly string[]): void {
    for (const runId of runIds) this.call('handedOver', { runId }).catch(() => this.sweeper.expect())
  }

  dispatcher(): Dispatcher {
    if (this.#closed) throw closed()
    this.#dispatcher ??= this.options.dispatcher()
    return this.#dispatcher
  }

  /** Resolves when nothing is under way or could run, but for handlers that wait in an await. */
  async settled(): Promise<void> {
    do {
      await this.activity.quiet()
      await this.#dispatcher?.idle()
    } while (this.activity.isBusy)
  }

  /** Ends timers and dispatcher, once the calls under way are done. The workers have to be closed before. */
  async close(): Promise<void> {
    this.#closed = true
    this.deadlines.stop()
    this.sweeper.stop()
    this.registrations.stop()
    this.availability.stop()
    await this.activity.quiet()
    await Promise.all([this.#dispatcher?.close(), this.presence.close()])
  }
}

function closed(): NuxtQueueError {
  return new NuxtQueueError('NQ_CLOSED', 'The core is closed; open a new one to go on.')
}

function toHandOverError(jobs: readonly StepJob[], cause: unknown): NuxtQueueError {
  if (cause instanceof NuxtQueueError && cause.code === 'NQ_CLOSED') return cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  const runs = [...new Set(jobs.map(({ data }) => data.runId))]
  const what = runs.length === 1 ? `Run ${runs[0]} is recorded, but its jobs` : 'It is recorded, but the jobs'
  const code = cause instanceof NuxtQueueError ? cause.code : 'NQ_UNAVAILABLE'
  return new NuxtQueueError(code, `${what} could not be handed over (${reason}); this is tried again.`, { cause })
}

/** Whether nothing was recorded. */
function isRefusal(error: unknown): boolean {
  return error instanceof NuxtQueueError && !['NQ_UNAVAILABLE', 'NQ_TIMEOUT', 'NQ_CLOSED'].includes(error.code)
}
