/**
 * Jobs that stay in this process: for backends that no other process writes to. They are gone with the process; the
 * runs' events tell which to dispatch again.
 */

import { NuxtQueueError } from '../errors.js'
import type { Timers } from '../timers.js'
import {
  type Dispatcher,
  pauseAfter,
  type RunJob,
  type StepJob,
  type StepOutcome,
  type TakenJob,
  type Work,
  type WorkOptions,
} from './dispatcher.js'

/** How many may wait beside those that work. */
const MOST_WAITING = 1000

/** A job on its way. */
interface Entry {
  job: StepJob
  /** How often its outcome was unknown in a row. */
  unknown: number
}

interface Queue {
  waiting: Fifo<Entry>
  /** The ids of all that wait, rest or run. */
  ids: Set<string>
  works: Set<InProcessWork>
}

/** The jobs of a run that are here. */
interface Held {
  jobs: number
  gone: Promise<void>
  end: () => void
}

/** Hands jobs out in the order in which they came, a queue at a time. */
export class InProcessDispatcher implements Dispatcher {
  readonly #timers: Timers
  readonly #queues = new Map<string, Queue>()
  /** By run. */
  readonly #held = new Map<string, Held>()
  /** What cancels the rest of jobs that are to be retried. */
  readonly #resting = new Set<() => void>()
  /** How many jobs run and don't just wait. */
  #busy = 0
  #whenIdle: Array<() => void> = []
  #closed = false

  constructor(timers: Timers) {
    this.#timers = timers
  }

  async dispatch(jobs: readonly StepJob[]): Promise<void> {
    this.#checkOpen()
    for (const job of jobs) {
      const queue = this.#queue(job.queue)
      if (queue.ids.has(job.jobId)) continue
      queue.ids.add(job.jobId)
      this.#hold(job.data.runId)
      queue.waiting.push({ job, unknown: 0 })
      this.#handOut(queue)
    }
  }

  async work(name: string, run: RunJob, { concurrency }: WorkOptions): Promise<Work> {
    this.#checkOpen()
    const queue = this.#queue(name)
    const work = new InProcessWork(run, concurrency, () => {
      queue.works.delete(work)
      this.#settle()
    })
    queue.works.add(work)
    this.#handOut(queue)
    return work
  }

  whenGone(runId: string): Promise<void> | undefined {
    return this.#held.get(runId)?.gone
  }

  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve)
      this.#settle()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const cancel of this.#resting) cancel()
    this.#resting.clear()
    for (const queue of this.#queues.values()) queue.waiting.clear()
    this.#settle()
  }

  /** Gives waiting jobs to those who have room, the one with the most first. */
  #handOut(queue: Queue): void {
    while (queue.waiting.size > 0) {
      const work = roomiest(queue.works)
      if (!work) return
      void this.#run(queue, queue.waiting.shift() as Entry, work)
    }
  }

  async #run(queue: Queue, entry: Entry, work: InProcessWork): Promise<void> {
    const busy = new Busy((change) => {
      this.#busy += change
      work.busy += change
      // One that only waits makes room for another.
      if (change < 0) this.#handOut(queue)
      this.#settle()
    })
    const outcome = await work.take({ ...entry.job, waiting: (isWaiting) => busy.set(!isWaiting) })
    if (outcome === 'unknown') this.#rest(queue, entry, pauseAfter(++entry.unknown))
    else if (outcome.kind === 'retry') this.#rest(queue, { job: entry.job, unknown: 0 }, outcome.delay)
    else this.#release(queue, entry.job)
    this.#handOut(queue)
    busy.end()
  }

  #hold(runId: string): void {
    const held = this.#held.get(runId)
    if (held) held.jobs++
    else {
      const { promise, resolve } = withResolvers()
      this.#held.set(runId, { jobs: 1, gone: promise, end: resolve })
    }
  }

  #release(queue: Queue, { jobId, data }: StepJob): void {
    queue.ids.delete(jobId)
    const held = this.#held.get(data.runId)
    if (!held || --held.jobs > 0) return
    this.#held.delete(data.runId)
    held.end()
  }

  /** Puts a job back into its queue after a delay. */
  #rest(queue: Queue, entry: Entry, delay: number): void {
    if (this.#closed) return
    if (delay <= 0) {
      queue.waiting.push(entry)
      return
    }
    const cancel = this.#timers.at(this.#timers.now() + delay, () => {
      this.#resting.delete(cancel)
      queue.waiting.push(entry)
      this.#handOut(queue)
    })
    this.#resting.add(cancel)
  }

  /** What could run has been handed out already: whatever still waits has nobody with room for it. */
  #settle(): void {
    if (this.#busy > 0) return
    for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  #queue(name: string): Queue {
    let queue = this.#queues.get(name)
    if (!queue) {
      queue = { waiting: new Fifo(), ids: new Set(), works: new Set() }
      this.#queues.set(name, queue)
    }
    return queue
  }

  #checkOpen(): void {
    if (this.#closed) throw new NuxtQueueError('NQ_CLOSED', 'The dispatcher is closed.')
  }
}

/** Whether a running job is busy or only waits. */
class Busy {
  readonly #count: (change: number) => void
  #isBusy = true
  #ended = false

  constructor(count: (change: number) => void) {
    this.#count = count
    count(1)
  }

  set(isBusy: boolean): void {
    if (this.#ended || isBusy === this.#isBusy) return
    this.#isBusy = isBusy
    this.#count(isBusy ? 1 : -1)
  }

  /** What a handler says after its job has ended no longer counts. */
  end(): void {
    this.set(false)
    this.#ended = true
  }
}

class InProcessWork implements Work {
  readonly #run: RunJob
  readonly #concurrency: number
  readonly #onClose: () => void
  readonly #running = new Set<Promise<StepOutcome | 'unknown'>>()
  /** How many run and don't just wait. */
  busy = 0

  constructor(run: RunJob, concurrency: number, onClose: () => void) {
    this.#run = run
    this.#concurrency = concurrency
    this.#onClose = onClose
  }

  get room(): number {
    if (this.#running.size >= this.#concurrency + MOST_WAITING) return 0
    return this.#concurrency - this.busy
  }

  /** Runs a job; never rejects. */
  async take(job: TakenJob): Promise<StepOutcome | 'unknown'> {
    // In a later turn: jobs that dispatch each other don't pile up on the stack.
    const outcome = Promise.resolve(job).then(this.#run)
    const settled = outcome.catch(() => 'unknown' as const)
    this.#running.add(settled)
    return await settled.finally(() => this.#running.delete(settled))
  }

  async close(): Promise<void> {
    this.#onClose()
    await Promise.all(this.#running)
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

function roomiest(works: Iterable<InProcessWork>): InProcessWork | undefined {
  let found: InProcessWork | undefined
  for (const work of works) if (work.room > (found?.room ?? 0)) found = work
  return found
}

/** A queue whose `shift` takes the same time however long it is. */
class Fifo<T> {
  #items: Array<T | undefined> = []
  #first = 0

  get size(): number {
    return this.#items.length - this.#first
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#first]
    this.#items[this.#first++] = undefined
    if (this.#first * 2 > this.#items.length && this.#first > 1000) {
      this.#items = this.#items.slice(this.#first)
      this.#first = 0
    }
    return item
  }

  clear(): void {
    this.#items = []
    this.#first = 0
  }
}
