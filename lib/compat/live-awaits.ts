/**
 * Awaits of a step that the original's worker executes. They stand in the record as those of our own workers do, so a
 * handler that is called again after a crash finds the same awaits. The job stays with its worker while it waits.
 */

import { randomUUID } from 'node:crypto'
import type { WorkerContext } from '../../index.js'
import type { TakenJob } from '../dispatch/dispatcher.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError } from '../errors.js'
import { Json } from '../native-flows.js'
import { Slots } from '../slots.js'
import { createFlow } from '../step-context.js'
import { StepExecution } from '../step-execution.js'

/** In milliseconds: longer than time goes on. The original knows no step whose job has ended. */
const NEVER = 2 ** 47

type Waits = Pick<WorkerContext, 'flow' | 'await'>

export class LiveAwaits {
  readonly #engine: Engine
  readonly #job: TakenJob
  #begun: Promise<{ execution: StepExecution; waits: Waits }> | undefined
  #waiting = 0
  #webhooks = 0

  constructor(engine: Engine, job: TakenJob) {
    this.#engine = engine
    this.#job = job
  }

  /** Waits as `open` says. A handler that has ended may not look at what fails: that must not end the process. */
  wait<T>(open: (waits: Waits) => Promise<T>): Promise<T> {
    const outcome = this.#wait(open)
    outcome.catch(() => {})
    return outcome
  }

  async #wait<T>(open: (waits: Waits) => Promise<T>): Promise<T> {
    this.#begun ??= this.#begin()
    const { execution, waits } = await this.#begun
    this.#waiting++
    this.#engine.executions.add(execution)
    try {
      return await open(waits)
    } finally {
      // Nobody says when the handler has ended.
      if (--this.#waiting === 0) this.#engine.executions.delete(execution)
    }
  }

  webhook<T>(open: (waits: Waits) => Promise<T>): Promise<T> {
    this.#webhooks++
    return this.wait(open)
  }

  /** The URL of the next await of a webhook. */
  webhookUrl(): string {
    const { data, name } = this.#job
    return this.#engine.options.webhookUrl(data.runId, `${name}/webhook/${this.#webhooks + 1}`)
  }

  async #begin(): Promise<{ execution: StepExecution; waits: Waits }> {
    const { jobId, name, queue, data } = this.#job
    const { instanceId } = this.#engine
    const executionId = randomUUID()
    const begun = await this.#engine.call('beginStep', {
      ...{ runId: data.runId, flowName: data.flowName, stepName: name, queue, jobId },
      ...{ executionId, workerId: instanceId, instanceId, input: Json.of(data.input, 'input'), isOfEngine: false },
    })
    if (!begun.run) throw new NuxtQueueError('NQ_CONFLICT', `Step ${name} can't wait: ${begun.reason}`)
    const slots = new Slots(Number.POSITIVE_INFINITY)
    const place = { engine: this.#engine, job: this.#job, begun, executionId, workerId: instanceId, instanceId, slots }
    const execution = new StepExecution({ ...place, suspendAfter: NEVER })
    return { execution, waits: createFlow(execution) }
  }
}
