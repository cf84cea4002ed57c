/**
 * What the workers of this process offer: the steps of the flows that are defined here, and handlers for any others.
 */

import type { FlowDefinition, FlowStep, StepRegistration, WorkerStep } from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import { warn } from '../warn.js'
import type { RegistryCalls, RequiredStep, WorkerOffer } from './calls.js'

/** How long a worker waits for being recorded before it goes on without. */
const PATIENCE_MS = 1000

interface OpenWorker {
  workerId: string
  queue: string
  handlers: string[]
}

/** Says what workers offer when they open, when flows are defined, and when they close. */
export class Offers {
  readonly #calls: RegistryCalls
  readonly #flows = new Map<string, FlowDefinition>()
  readonly #workers = new Set<OpenWorker>()
  #recording: Promise<unknown> = Promise.resolve()

  constructor(calls: RegistryCalls) {
    this.#calls = calls
  }

  /** A flow was defined. */
  define(flow: FlowDefinition): void {
    this.#flows.set(flow.name, flow)
    for (const worker of this.#workers) if (stepsOf(flow, worker).length > 0) void this.#register(worker)
  }

  /** The steps that a flow has to have, if it is defined here. */
  required(flowName: string): RequiredStep[] {
    const flow = this.#flows.get(flowName)
    return flow === undefined ? [] : allSteps(flow).map(([stepName, { queue }]) => ({ stepName, queue }))
  }

  /**
   * A worker begins to take jobs.
   *
   * @returns `recorded` resolves when that is recorded, or takes too long; `withdraw` says that it takes no more.
   */
  add(workerId: string, queue: string, handlers: Iterable<string>): { recorded: Promise<void>; withdraw: () => void } {
    const taken = [...this.#workers].some((worker) => worker.workerId === workerId)
    const worker = { workerId: taken ? `${workerId}@${queue}` : workerId, queue, handlers: [...handlers].sort() }
    this.#workers.add(worker)
    const late = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS).unref())
    return { recorded: Promise.race([this.#register(worker), late]), withdraw: () => this.#remove(worker) }
  }

  /** Resolves when everything that was offered so far is recorded, or could not be. */
  async recorded(): Promise<void> {
    await this.#recording
  }

  #remove(worker: OpenWorker): void {
    if (!this.#workers.delete(worker)) return
    void this.#say(worker, () => this.#calls.call('deregisterWorker', { workerId: worker.workerId }, true))
  }

  #register(worker: OpenWorker): Promise<void> {
    return this.#say(worker, () => this.#calls.call('registerWorker', this.#offerOf(worker), true))
  }

  #offerOf(worker: OpenWorker): WorkerOffer {
    const steps = [...this.#flows.values()].flatMap((flow) => stepsOf(flow, worker))
    const flows = [...new Set(steps.map(({ flowName }) => flowName))].sort()
    return { ...worker, flows, steps }
  }

  /** Whoever works does not fail for what is said about it. */
  #say(worker: OpenWorker, call: () => Promise<unknown>): Promise<void> {
    const said = call().then(
      () => {},
      (error) => {
        if (error instanceof NuxtQueueError && error.code === 'NQ_CLOSED') return
        warn(`What worker ${worker.workerId} offers could not be recorded`, error, 'NQ_REGISTRY')
      },
    )
    this.#recording = Promise.all([this.#recording, said])
    return said
  }
}

/** The steps of a flow that a worker runs. */
function stepsOf(flow: FlowDefinition, { queue, handlers }: OpenWorker): WorkerStep[] {
  const runs = (name: string) => handlers.includes(name) || handlers.includes(`${flow.name}/${name}`)
  const steps = allSteps(flow).filter(([name, step]) => step.queue === queue && runs(name))
  return steps.map(([stepName, step]) => {
    const { subscribes, emits, version } = step
    const role: StepRegistration['role'] = stepName === flow.entry.step ? 'entry' : 'step'
    return { flowName: flow.name, stepName, queue, role, subscribes: subscribes ?? [], emits, version }
  })
}

/** An entry of which there is no more to say need not stand among the steps. */
function allSteps({ entry, steps }: FlowDefinition): Array<[string, FlowStep]> {
  const all = Object.entries(steps)
  return Object.hasOwn(steps, entry.step) ? all : [[entry.step, { queue: entry.queue }], ...all]
}
