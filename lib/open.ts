/**
 * Everything wired from one configuration.
 */

import type * as surface from '../index.js'
import { type CoreOptions, readConfig } from './config.js'
import { BullmqDispatcher } from './dispatch/bullmq.js'
import type { Dispatcher } from './dispatch/dispatcher.js'
import { InProcessDispatcher } from './dispatch/in-process.js'
import { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import { EventStore } from './event-store.js'
import { FlowEngine } from './flow-engine.js'
import { Logs } from './log/logs.js'
import { LogRouter } from './log/router.js'
import { RunStreams } from './log/run-streams.js'
import { StateHome } from './migration/state-home.js'
import { followNews } from './news.js'
import { WorkerRegistry } from './registry/worker-registry.js'
import { Telemetry } from './telemetry/telemetry.js'
import { onSettle } from './testing.js'
import { type Timers, timersOf } from './timers.js'
import { TriggerEngine } from './trigger/trigger-engine.js'
import { signToken } from './trigger/webhook-token.js'
import { QueueWorker } from './worker.js'

/** Opens a core; documented in `index.d.ts`. */
export async function open(config: surface.QueueConfig = {}): Promise<surface.QueueCore> {
  const options = readConfig(config)
  const store = await EventStore.open(options.store)
  try {
    const telemetry = options.telemetry ? await Telemetry.load(() => store.stats()) : undefined
    return new Core(store, options, telemetry) as surface.QueueCore
  } catch (error) {
    await store.close()
    throw error
  }
}

/** The engine of a core; `undefined` for anything else. */
export let engineOf: (core: object) => Engine | undefined

class Core {
  readonly store: EventStore
  readonly flows: FlowEngine
  readonly triggers: TriggerEngine
  readonly registry: WorkerRegistry
  readonly logs: Logs
  readonly #engine: Engine
  readonly #logRouter: LogRouter
  readonly #states: StateHome
  readonly #workers = new Set<QueueWorker>()
  readonly #forgetClock: () => void
  #closed: Promise<void> | undefined
  #draining = false

  static {
    engineOf = (core) => (#engine in core ? (core as Core).#engine : undefined)
  }

  constructor(store: EventStore, options: CoreOptions, telemetry: Telemetry | undefined) {
    const { prefix, instance, isShared, outlivesJobs, suspendAfter, secret, awaitUrl, clock } = options
    const timers = timersOf(clock)
    const logs = new LogRouter(options.logging)
    const states = new StateHome(store, options.stateProvider)
    this.#engine = new Engine({
      ...{ store, timers, isVirtual: clock !== undefined, instance, prefix, isShared, outlivesJobs },
      ...{ logs, suspendAfter, telemetry, states },
      dispatcher: () => makeDispatcher(options, timers),
      webhookUrl: (runId, awaitId) => awaitUrl + signToken(secret(), { runId, awaitId }),
    })
    this.store = store
    this.flows = FlowEngine.of(this.#engine)
    this.triggers = TriggerEngine.of(this.#engine, secret, options.resolveSecret)
    this.registry = WorkerRegistry.of(this.#engine, () => this.#drain())
    this.logs = new Logs(store, new RunStreams(store, prefix, (id) => this.flows.chain(id)), logs)
    this.#logRouter = logs
    this.#states = states
    this.#forgetClock = onSettle(clock, () => this.#engine.settled())
    this.#engine.presence.start()
    void followNews(this.#engine)
    this.#engine.deadlines.start()
    this.#engine.sweeper.start()
  }

  async worker(
    queue: string,
    handlers: Record<string, surface.StepHandler>,
    options?: surface.WorkerOptions,
  ): Promise<surface.Worker> {
    if (this.#closed) throw new NuxtQueueError('NQ_CLOSED', 'The core is closed; open a new one to go on.')
    if (this.#draining) throw new NuxtQueueError('NQ_CLOSED', 'The instance is draining; open a new core to go on.')
    const worker = await QueueWorker.open(this.#engine, queue, handlers, options, () => this.#workers.delete(worker))
    this.#workers.add(worker)
    await worker.register()
    // Closed while it was opened.
    if (this.#closed) await worker.close()
    else if (this.#draining) await worker.drain()
    return worker
  }

  async registerTrigger(definition: surface.TriggerDefinition): Promise<void> {
    await this.triggers.register(definition)
  }

  async emitTrigger(name: string, payload?: unknown, options?: surface.EmitTriggerOptions): Promise<surface.Firing> {
    return await this.triggers.emit(name, payload, options)
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #drain(): Promise<void> {
    this.#draining = true
    await Promise.all([...this.#workers].map((worker) => worker.drain()))
  }

  async #close(): Promise<void> {
    // Each of them, whatever became of those before.
    const closed = await Promise.allSettled([...this.#workers].map((worker) => worker.close()))
    closed.push(...(await Promise.allSettled([this.#engine.close()])))
    this.#forgetClock()
    await this.#logRouter.close()
    await this.#states.close()
    await this.store.close()
    this.#engine.telemetry?.stop()
    for (const outcome of closed) if (outcome.status === 'rejected') throw outcome.reason
  }
}

function makeDispatcher({ store, jobs }: CoreOptions, timers: Timers): Dispatcher {
  if (store.adapter !== 'redis') return new InProcessDispatcher(timers)
  return new BullmqDispatcher({ redis: store.redis, ...jobs })
}
