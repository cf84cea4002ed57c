/** Jobs for dispatchers, and what became of them. */

import { randomUUID } from 'node:crypto'
import type { Dispatcher, StepJob, StepOutcome, TakenJob, Work } from '../../lib/dispatch/dispatcher.js'
import type { Timers } from '../../lib/timers.js'

/** A queue name that no other test has. */
export const newQueue = (): string => `queue-${randomUUID()}`

/** A job of a queue; `input` is its number. */
export function makeJob(queue: string, n: number): StepJob {
  const runId = randomUUID()
  return { queue, name: 'step', jobId: `${runId}__step`, data: { runId, flowName: 'flow', input: n, attempt: 1 } }
}

/** Jobs of a queue, numbered from 0. */
export const makeJobs = (queue: string, count: number): StepJob[] =>
  Array.from({ length: count }, (_, n) => makeJob(queue, n))

/** The system's clock. */
export const systemTimers: Timers = {
  now: Date.now,
  at(ms, callback) {
    const timer = setTimeout(callback, ms - Date.now())
    return () => clearTimeout(timer)
  },
}

/** A job that runs until it is told how it ended. */
export interface Running {
  job: TakenJob
  end(outcome: StepOutcome): void
  reject(error: Error): void
}

/** Takes the jobs of a queue and keeps them running until the test ends them. */
export class Taker {
  /** In the order in which they were taken. */
  readonly taken: Running[] = []
  readonly stalled: unknown[] = []
  work?: Work
  #look = () => {}

  static async of(dispatcher: Dispatcher, queue: string, concurrency = 1): Promise<Taker> {
    const taker = new Taker()
    taker.work = await dispatcher.work(queue, (job) => taker.#take(job), {
      concurrency,
      onStalled: (job) => taker.stalled.push(job),
    })
    return taker
  }

  /** The first so many jobs as soon as they were taken. */
  async count(count: number, timeoutMs = 15_000): Promise<Running[]> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`waited ${timeoutMs} ms in vain for ${count} jobs; ${this.taken.length} came`))
      }, timeoutMs)
      this.#look = () => {
        if (this.taken.length < count) return
        clearTimeout(timer)
        resolve()
      }
      this.#look()
    })
    return this.taken
  }

  /** Waits for the job of this position, 0 for the first, and ends it. */
  async end(position: number, outcome: StepOutcome = { kind: 'done' }): Promise<void> {
    await this.count(position + 1)
    this.taken[position]?.end(outcome)
  }

  /** The numbers of the jobs taken so far. */
  get numbers(): unknown[] {
    return this.taken.map(({ job }) => job.data.input)
  }

  #take(job: TakenJob): Promise<StepOutcome> {
    return new Promise((end, reject) => {
      this.taken.push({ job, end, reject })
      this.#look()
    })
  }
}
