/**
 * Jobs in BullMQ's queues on Redis, shared by all instances; those of the original module, too.
 *
 * The engine alone counts attempts and decides on retries: a BullMQ job has one attempt, and is delayed instead of
 * failed when it is to run again.
 */

import type { Job, Queue, Worker } from 'bullmq'
import type { StoreOptions } from '../../index.js'
import { NuxtQueueError, shown } from '../errors.js'
import { ConnectionWarnings, connectionOf, cutOff, type Link, letNodeEnd, letWorkerEnd } from './bullmq-connection.js'
import { type JobData, packData, unpackJob } from './bullmq-job.js'
import {
  type Dispatcher,
  type DispatchOptions,
  pauseAfter,
  type RunJob,
  type StalledJob,
  type StepJob,
  type StepOutcome,
  type Work,
  type WorkOptions,
} from './dispatcher.js'

export interface BullmqOptions {
  /** Where the store is. */
  redis: StoreOptions['redis']
  /** Begins the names of BullMQ's keys; instances with the same prefix share their queues. */
  prefix?: string
  /** After how many milliseconds without a sign of life a worker counts as gone. */
  stallTimeout?: number
  /** How many milliseconds a call may wait for Redis. */
  timeout?: number
}

type Bullmq = typeof import('bullmq')

/** Ended jobs are kept for a while, for dashboards that show BullMQ's queues. */
const KEEP = { removeOnComplete: { age: 3600, count: 1000 }, removeOnFail: { age: 7 * 86_400, count: 5000 } }
/** The engine counts how often a step stalled; BullMQ is not to give up before. */
const ENDLESS = 1e9
/** How long closing waits for a server that doesn't answer: longer than the pause between two attempts to connect. */
const CLOSE_MS = 2000

/** Dispatches through BullMQ, which is loaded when the first job comes. */
export class BullmqDispatcher implements Dispatcher {
  readonly #options: Required<BullmqOptions>
  readonly #queues = new Map<string, Queue>()
  /** Of the queues; each work has its own. */
  readonly #link: Link = { isOver: false }
  readonly #works = new Set<BullmqWork>()
  readonly #warnings = new ConnectionWarnings()
  #bullmq: Promise<Bullmq> | undefined
  #closed: Promise<void> | undefined

  constructor(options: BullmqOptions) {
    this.#options = { prefix: 'bull', stallTimeout: 30_000, timeout: 10_000, ...options }
  }

  async dispatch(jobs: readonly StepJob[], { again = false }: DispatchOptions = {}): Promise<void> {
    this.#checkOpen()
    if (jobs.length === 0) return
    const bullmq = await this.#load()
    const added = [...byQueue(jobs)].map(async ([name, ofQueue]) => {
      const queue = this.#queue(bullmq, name)
      if (again) await Promise.all(ofQueue.map(({ jobId }) => removeEnded(queue, jobId)))
      await add(queue, ofQueue)
    })
    await this.#inTime(Promise.all(added), 'the jobs are not known to be in their queues')
  }

  async work(name: string, run: RunJob, options: WorkOptions): Promise<Work> {
    this.#checkOpen()
    const bullmq = await this.#load()
    const { redis, prefix, stallTimeout } = this.#options
    const link: Link = { isOver: false }
    const worker = made(name, () => {
      return new bullmq.Worker<JobData>(name, (job, token) => work.process(job, token), {
        connection: connectionOf(redis, link),
        prefix,
        concurrency: options.concurrency,
        lockDuration: stallTimeout,
        // Looked for twice in the life of a lock, a lost job is found soon after its lock has expired.
        stalledInterval: stallTimeout / 2,
        maxStalledCount: ENDLESS,
        runRetryDelay: 1000,
      })
    })
    letWorkerEnd(worker, link)
    const onStalled = (job: StalledJob) => options.onStalled(job, stallTimeout / 2)
    const work = new BullmqWork(bullmq, worker, link, run, onStalled)
    worker.on('error', (error) => this.#warnings.warn(error))
    worker.once('closed', () => this.#works.delete(work))
    this.#works.add(work)
    try {
      await this.#inTime(worker.waitUntilReady(), `the worker of queue ${shown(name)} is not connected`)
    } catch (error) {
      await work.close()
      throw error
    }
    return work
  }

  async idle(): Promise<void> {
    await Promise.all([...this.#works].map((work) => work.settled()))
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => end(queue, queue.close(), this.#link)))
  }

  #queue(bullmq: Bullmq, name: string): Queue {
    let queue = this.#queues.get(name)
    if (!queue) {
      const { redis, prefix } = this.#options
      queue = made(name, () => new bullmq.Queue(name, { connection: connectionOf(redis, this.#link), prefix }))
      queue.on('error', (error) => this.#warnings.warn(error))
      void letNodeEnd(queue)
      this.#queues.set(name, queue)
    }
    return queue
  }

  async #load(): Promise<Bullmq> {
    this.#bullmq ??= import('bullmq')
    try {
      return await this.#bullmq
    } catch (cause) {
      this.#bullmq = undefined
      const message =
        'Flows on Redis run through BullMQ, which cannot be loaded; install it: npm install bullmq ioredis'
      throw new NuxtQueueError('NQ_CONFIG', message, { cause })
    }
  }

  /** The timer keeps Node alive as long as somebody waits. */
  async #inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    const { timeout } = this.#options
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${timeout} ms`)), timeout)
    })
    try {
      return await Promise.race([promise, late])
    } catch (error) {
      throw toError(error, what)
    } finally {
      clearTimeout(timer)
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new NuxtQueueError('NQ_CLOSED', 'The dispatcher is closed.')
  }
}

class BullmqWork implements Work {
  readonly #bullmq: Bullmq
  readonly #worker: Worker<JobData>
  readonly #link: Link
  readonly #run: RunJob
  readonly #running = new Set<Promise<StepOutcome | 'unknown'>>()
  #closed: Promise<void> | undefined

  constructor(bullmq: Bullmq, worker: Worker<JobData>, link: Link, run: RunJob, onStalled: (job: StalledJob) => void) {
    this.#bullmq = bullmq
    this.#worker = worker
    this.#link = link
    this.#run = run
    worker.on('stalled', (jobId) => void this.#tellStalled(jobId, onStalled))
  }

  /** BullMQ's processor. */
  async process(job: Job<JobData>, token: string | undefined): Promise<void> {
    const outcome = await this.#take(job)
    if (outcome === 'unknown') await this.#delay(job, pauseAfter(job.attemptsStarted), token)
    else if (outcome.kind === 'retry') await this.#delay(job, outcome.delay, token)
    else if (outcome.kind === 'failed') throw new this.#bullmq.UnrecoverableError(messageOf(outcome.error))
  }

  /** Resolves when nothing runs that ran at the call. */
  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #take(job: Job<JobData>): Promise<StepOutcome | 'unknown'> {
    const outcome = Promise.resolve(unpackJob(job)).then(this.#run)
    const settled = outcome.catch(() => 'unknown' as const)
    this.#running.add(settled)
    return await settled.finally(() => this.#running.delete(settled))
  }

  async #delay(job: Job<JobData>, ms: number, token: string | undefined): Promise<never> {
    await job.moveToDelayed(Date.now() + ms, token)
    throw new this.#bullmq.DelayedError()
  }

  async #tellStalled(jobId: string, onStalled: (job: StalledJob) => void): Promise<void> {
    try {
      const job = await this.#bullmq.Job.fromId<JobData>(this.#worker, jobId)
      if (job) onStalled(unpackJob(job))
    } catch (error) {
      this.#worker.emit('error', error instanceof Error ? error : new Error(String(error)))
    }
  }

  async #close(): Promise<void> {
    const closed = this.#worker.close()
    // As long as a handler runs it is waited for; a server that is gone is not.
    while (this.#running.size > 0) await this.settled()
    await end(this.#worker, closed, this.#link)
  }
}

function byQueue(jobs: readonly StepJob[]): Map<string, StepJob[]> {
  const queues = new Map<string, StepJob[]>()
  for (const job of jobs) {
    const ofQueue = queues.get(job.queue)
    if (ofQueue) ofQueue.push(job)
    else queues.set(job.queue, [job])
  }
  return queues
}

async function add(queue: Queue, jobs: StepJob[]): Promise<void> {
  const packed = jobs.map(({ name, jobId, data }) => ({ name, data: packData(data), opts: { ...KEEP, jobId } }))
  const [first] = packed
  if (first && packed.length === 1) await queue.add(first.name, first.data, first.opts)
  else await queue.addBulk(packed)
}

/** BullMQ takes no second job of an id as long as it keeps the first, ended or not. */
async function removeEnded(queue: Queue, jobId: string): Promise<void> {
  const state = await queue.getJobState(jobId)
  // If somebody else removed it meanwhile, or it runs again: just as well.
  if (state === 'completed' || state === 'failed') await queue.remove(jobId).catch(() => {})
}

/** BullMQ refuses names with a colon, which separates the parts of its keys. */
function made<T>(name: string, make: () => T): T {
  try {
    return make()
  } catch (cause) {
    throw new NuxtQueueError('NQ_CONFIG', `The queue ${shown(name)} cannot be used: ${messageOf(cause)}`, { cause })
  }
}

/** Waits until something of BullMQ is closed, but not for a server that is gone or hangs. */
async function end(what: Queue | Worker, closed: Promise<void>, link: Link): Promise<void> {
  link.isOver = true
  const isClosed = closed.catch(() => {})
  if (await within(CLOSE_MS, isClosed)) return
  cutOff(what)
  await within(CLOSE_MS, isClosed)
}

/** Whether a promise settles within so many milliseconds. */
async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  return await Promise.race([promise.then(() => true), late]).finally(() => clearTimeout(timer))
}

function toError(error: unknown, what: string): NuxtQueueError {
  if (error instanceof NuxtQueueError) return error
  const message = messageOf(error)
  // BullMQ from version 6 on leaves the client to its user.
  if (message.includes("'ioredis' package"))
    return new NuxtQueueError('NQ_CONFIG', 'BullMQ needs ioredis to reach Redis; install it: npm install ioredis')
  // Not the error itself: those of ioredis carry the command, and with it the password.
  return new NuxtQueueError('NQ_UNAVAILABLE', `BullMQ: ${what}: ${message}`, { cause: new Error(message) })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
