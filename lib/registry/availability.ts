/**
 * Steps that nobody can take: it stands in their runs, once it is clear.
 */

import type { StepJob } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError } from '../errors.js'
import { warn } from '../warn.js'

/** How long somebody has to come who takes a step. */
const GRACE_MS = 5000

/** How many steps are watched at a time; of the others, whoever explains them tells. */
const MOST_WATCHED = 1000

/** Looks at steps that nobody in this process takes, a moment after they were handed over. */
export class Availability {
  readonly #engine: Engine
  readonly #watched = new Map<string, Pick<StepJob, 'queue' | 'name' | 'data'>>()
  #cancel: (() => void) | undefined
  #failed = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** These steps were handed over. */
  watch(jobs: readonly Pick<StepJob, 'queue' | 'name' | 'data' | 'jobId'>[]): void {
    for (const job of jobs) {
      if (this.#watched.size >= MOST_WATCHED || this.#engine.isClosed) return
      if (this.#engine.handlerOf(job) === undefined) this.#watched.set(job.jobId, job)
    }
    if (this.#watched.size === 0) return
    const { timers } = this.#engine.options
    this.#cancel ??= timers.at(timers.now() + GRACE_MS, () => void this.#engine.activity.track(() => this.#look()))
  }

  stop(): void {
    this.#cancel?.()
    this.#watched.clear()
  }

  /** Whether anybody takes a step of a run; if not, that is recorded. */
  async check(runId: string, stepName: string): Promise<boolean> {
    const waiting = await this.#engine.call('waiting', { runId })
    const step = waiting.find((known) => known.stepName === stepName)
    const reason = step && (await this.#engine.registry.call('unavailable', step))
    if (!reason) return true
    await this.#engine.call('unavailable', { runId, stepName, reason })
    return false
  }

  /** Why steps of a run wait in vain. */
  async explain(runId: string): Promise<string[]> {
    const waiting = await this.#engine.call('waiting', { runId })
    await this.#engine.offers.recorded()
    const reasons = await Promise.all(waiting.map((step) => this.#engine.registry.call('unavailable', step)))
    return reasons.filter((reason) => reason !== null)
  }

  async #look(): Promise<void> {
    this.#cancel = undefined
    const jobs = [...this.#watched.values()]
    this.#watched.clear()
    try {
      const missing = await this.#missing(jobs)
      for (const { name, data } of jobs.filter((job) => missing.has(keyOf(job)))) await this.check(data.runId, name)
      this.#failed = false
    } catch (error) {
      if (this.#engine.isClosed || (error instanceof NuxtQueueError && error.code === 'NQ_CLOSED')) return
      if (!this.#failed) warn('It could not be found out who takes steps that wait', error, 'NQ_REGISTRY')
      this.#failed = true
    }
  }

  /** Those of the steps that nobody takes, in whatever version: one question for all jobs of a step. */
  async #missing(jobs: Array<Pick<StepJob, 'queue' | 'name' | 'data'>>): Promise<Set<string>> {
    const missing = new Set<string>()
    for (const [key, { queue, name, data }] of new Map(jobs.map((job) => [keyOf(job), job]))) {
      const step = { flowName: data.flowName, stepName: name, queue }
      if ((await this.#engine.registry.call('unavailable', step)) !== null) missing.add(key)
    }
    return missing
  }
}

function keyOf({ queue, name, data }: Pick<StepJob, 'queue' | 'name' | 'data'>): string {
  return JSON.stringify([data.flowName, name, queue])
}
