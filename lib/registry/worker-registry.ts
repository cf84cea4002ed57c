import type * as surface from '../../index.js'
import { toDuration } from '../duration.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError, shown } from '../errors.js'
import { checkKnown, checkName, checkOptions, invalid } from '../query.js'
import type { Answer, CallName, Request } from './calls.js'

const STEP = ['flowName', 'stepName', 'queue', 'workerId', 'role', 'subscribes', 'emits', 'version']
const STRATEGIES = ['strict', 'latest', 'mixed']
const DEFAULT_PATIENCE = 30_000

/** The registry; documented in `index.d.ts`. */
export class WorkerRegistry implements Pick<surface.WorkerRegistry, keyof surface.WorkerRegistry> {
  readonly #engine: Engine
  readonly #drain: () => Promise<void>
  /** The next change, while somebody waits for it. */
  #change: Promise<void> | undefined
  #drained: Promise<void> | undefined

  private constructor(engine: Engine, drain: () => Promise<void>) {
    this.#engine = engine
    this.#drain = drain
  }

  /** `drain` lets the workers take nothing more, and resolves when they are done. */
  static of(engine: Engine, drain: () => Promise<void>): WorkerRegistry {
    return new WorkerRegistry(engine, drain)
  }

  get instanceId(): string {
    return this.#engine.instanceId
  }

  async registerStep(step: surface.StepRegistration): Promise<void> {
    const {
      flowName,
      stepName,
      queue,
      workerId,
      role,
      subscribes = [],
      emits,
      version,
    } = checkKnown(step, 'step', STEP)
    for (const [name, value] of Object.entries({ flowName, stepName, queue, workerId }))
      checkText(value, `step.${name}`)
    if (role !== 'entry' && role !== 'step') throw invalid('step.role', role, "'entry' or 'step'")
    checkTexts(subscribes, 'step.subscribes')
    if (emits !== undefined) checkTexts(emits, 'step.emits')
    if (version !== undefined) checkText(version, 'step.version')
    await this.#call('registerStep', { flowName, stepName, queue, workerId, role, subscribes, emits, version })
  }

  async registerWorker(worker: { workerId: string; queue: string; flows?: string[] }): Promise<void> {
    const { workerId, queue, flows = [] } = checkKnown(worker, 'worker', ['workerId', 'queue', 'flows'])
    checkText(workerId, 'worker.workerId')
    checkText(queue, 'worker.queue')
    checkTexts(flows, 'worker.flows')
    await this.#call('registerWorker', { workerId, queue, flows })
  }

  async getFlow(name: string, options: surface.FlowChoice = {}): Promise<surface.RegisteredFlow | null> {
    checkText(name, 'name')
    const { version, strategy } = checkOptions(options, ['version', 'strategy'])
    if (version !== undefined) checkText(version, 'version')
    if (strategy !== undefined && !STRATEGIES.includes(strategy)) {
      throw invalid('strategy', strategy, "'strict', 'latest' or 'mixed'")
    }
    return await this.#ask('flow', {
      name,
      ...(version !== undefined && { version }),
      ...(strategy !== undefined && { strategy }),
    })
  }

  async getQueueHandlers(queue: string): Promise<string[]> {
    return await this.#ask('queueHandlers', { queue: checkText(queue, 'queue') })
  }

  async getHealthyInstances(): Promise<string[]> {
    return await this.#ask('healthyInstances', undefined)
  }

  async listInstances(): Promise<surface.InstanceInfo[]> {
    return await this.#ask('instances', undefined)
  }

  async listWorkers(): Promise<surface.WorkerInfo[]> {
    return await this.#ask('workers', undefined)
  }

  async waitForFlowReady(name: string, timeoutMs: number | string = DEFAULT_PATIENCE): Promise<surface.RegisteredFlow> {
    checkText(name, 'name')
    const patience = toDuration(timeoutMs, 'timeoutMs')
    const { timers } = this.#engine.options
    let cancel = () => {}
    let isLate = patience === 0
    const late = new Promise<void>((resolve) => {
      const expire = () => {
        isLate = true
        resolve()
      }
      if (!isLate) cancel = timers.at(timers.now() + patience, expire)
    })
    // Whoever waits keeps Node alive.
    const keepAlive = setInterval(() => {}, 2 ** 30)
    try {
      for (;;) {
        const { missing, revision } = await this.#ask('missing', { name, required: this.#engine.offers.required(name) })
        const flow = missing.length === 0 ? await this.getFlow(name) : null
        if (flow) return flow
        if (isLate) throw notReady(name, patience, missing)
        await Promise.race([this.#changed(revision), late])
      }
    } finally {
      clearInterval(keepAlive)
      cancel()
    }
  }

  async drain(): Promise<void> {
    this.#drained ??= Promise.all([this.#call('drain', undefined), this.#drain()]).then(() => {})
    await this.#drained
  }

  /** Resolves when the registry is another one. All who wait share one question. */
  #changed(revision: number): Promise<void> {
    if (this.#change) return this.#change
    const change = this.#engine.registry.call('changed', { revision }, true).then((isOpen) => {
      if (!isOpen) throw new NuxtQueueError('NQ_CLOSED', 'The core was closed; open a new one to go on.')
    })
    const forget = () => {
      this.#change = undefined
    }
    this.#change = change
    change.then(forget, forget)
    return change
  }

  async #ask<N extends CallName>(name: N, request: Request<N>): Promise<Answer<N>> {
    await this.#engine.presence.arrived()
    await this.#engine.offers.recorded()
    return await this.#call(name, request)
  }

  async #call<N extends CallName>(name: N, request: Request<N>): Promise<Answer<N>> {
    return await this.#engine.activity.track(() => this.#engine.registry.call(name, request))
  }
}

function notReady(name: string, patience: number, missing: string[]): NuxtQueueError {
  const what = `The flow ${shown(name)} is not ready after ${patience} ms`
  return new NuxtQueueError('NQ_TIMEOUT', `${what}: ${missing.join('; ')}. Start what is missing, or wait longer.`)
}

/** What goes into the envelope of an event. */
function checkText(value: unknown, name: string): string {
  if (checkName(value, name) === '') throw invalid(name, value, 'a text that is not empty')
  return value as string
}

function checkTexts(values: unknown, name: string): void {
  if (!Array.isArray(values)) throw invalid(name, values, 'an array of texts')
  for (const [index, value] of values.entries()) checkText(value, `${name}[${index}]`)
}
