/**
 * Runs the steps of a queue in this process.
 */

import { randomUUID } from 'node:crypto'
import type * as surface from '../index.js'
import type { RunJob, StalledJob, StepOutcome, TakenJob, Work } from './dispatch/dispatcher.js'
import { toDuration } from './duration.js'
import type { Engine } from './engine.js'
import { NuxtQueueError, shown } from './errors.js'
import type { RunLogger } from './log/logger.js'
import { type BegunStep, Json, type RefusedStep } from './native-flows.js'
import { checkName, checkObject, checkOptions, invalid } from './query.js'
import { validate } from './schema.js'
import { Slots } from './slots.js'
import { createContext } from './step-context.js'
import { describe } from './step-error.js'
import { StepExecution } from './step-execution.js'
import { warn } from './warn.js'

const DEFAULT_CONCURRENCY = 10
const DEFAULT_CLOSE_TIMEOUT = 30_000

/** How long a handler has to react to the abort of a close. */
const GRACE_MS = 1000

/** Another instance may have the handler. */
const RETRY_ELSEWHERE_MS = 5000

/** How long to wait for a note that a step is given back. */
const RELEASE_MS = 1000

const noop = () => {}

/** Another instance has the version of the code that a step needs, and may be the next to take it. */
const RETRY_OTHER_VERSION_MS = 250

/** The store may be back by then. */
const RETRY_LATER_MS = 1000

/** A worker that is open keeps Node alive, as a server does. */
let open = 0
let keepAlive: NodeJS.Timeout | undefined

/** A worker; documented in `index.d.ts`. */
export class QueueWorker implements surface.Worker {
  readonly #engine: Engine
  readonly #queue: string
  readonly #handlers: Map<string, surface.StepHandler>
  readonly #options: { workerId: string; instanceId: string; suspendAfter: number; closeTimeout: number }
  readonly #concurrency: number
  readonly #slots: Slots
  readonly #running = new Set<StepExecution>()
  #work: Work | undefined
  #deregister = () => {}
  #onClosed = () => {}
  #closing = false
  #aborted = false
  #closed: Promise<void> | undefined

  private constructor(engine: Engine, queue: string, handlers: unknown, options: surface.WorkerOptions) {
    const known = ['concurrency', 'instanceId', 'workerId', 'suspendAfter', 'closeTimeout']
    const { concurrency = DEFAULT_CONCURRENCY, ...given } = checkOptions(options, known)
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw invalid('concurrency', concurrency, 'a whole number from 1 on')
    }
    const { instanceId = engine.instanceId, suspendAfter, closeTimeout = DEFAULT_CLOSE_TIMEOUT } = given
    this.#engine = engine
    this.#queue = checkName(queue, 'queue')
    this.#handlers = readHandlers(handlers)
    this.#concurrency = concurrency
    this.#slots = new Slots(concurrency)
    this.#options = {
      instanceId: checkName(instanceId, 'instanceId'),
      workerId: checkName(given.workerId ?? `${instanceId}-${randomUUID().slice(0, 8)}`, 'workerId'),
      suspendAfter: suspendAfter === undefined ? engine.options.suspendAfter : toDuration(suspendAfter, 'suspendAfter'),
      closeTimeout: toDuration(closeTimeout, 'closeTimeout'),
    }
  }

  /** Begins to work. */
  static async open(
    engine: Engine,
    queue: string,
    handlers: unknown,
    options: surface.WorkerOptions = {},
    onClosed = () => {},
  ): Promise<QueueWorker> {
    const worker = new QueueWorker(engine, queue, handlers, options)
    worker.#onClosed = onClosed
    const run: RunJob = (job) => worker.#run(job)
    const onStalled = (job: StalledJob, silentForMs: number) => worker.#stalled(job, Math.floor(silentForMs))
    worker.#offer()
    try {
      worker.#work = await engine.dispatcher().work(queue, run, { concurrency: worker.#concurrency, onStalled })
    } catch (error) {
      worker.#withdraw()
      throw error
    }
    if (open++ === 0) keepAlive = setInterval(() => {}, 2 ** 30)
    return worker
  }

  /** Says in the registry what it offers. */
  async register(): Promise<void> {
    if (this.#closing) return
    const offer = this.#engine.offers.add(this.#options.workerId, this.#queue, this.#handlers.keys())
    this.#deregister = offer.withdraw
    await offer.recorded
  }

  /** A job that comes to one worker may be meant for another one of its queue. */
  #offer(): void {
    const { handlers } = this.#engine
    handlers.set(this.#queue, (handlers.get(this.#queue) ?? new Set()).add(this.#handlers))
  }

  #withdraw(): void {
    const { handlers } = this.#engine
    const ofQueue = handlers.get(this.#queue)
    if (ofQueue?.delete(this.#handlers) && ofQueue.size === 0) handlers.delete(this.#queue)
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  /** Takes no new job; resolves when those that run have ended, however long they take. */
  async drain(): Promise<void> {
    this.#stopTaking()
    await this.#work?.close()
  }

  #stopTaking(): void {
    this.#closing = true
    this.#deregister()
    for (const execution of this.#running) execution.close()
  }

  async #close(): Promise<void> {
    this.#stopTaking()
    const timer = setTimeout(() => this.#abort(), this.#options.closeTimeout)
    try {
      await this.#work?.close()
    } finally {
      this.#withdraw()
      clearTimeout(timer)
      if (--open === 0) clearInterval(keepAlive)
      this.#onClosed()
    }
  }

  #abort(): void {
    this.#aborted = true
    for (const execution of this.#running) this.#abortExecution(execution)
  }

  #abortExecution(execution: StepExecution): void {
    const what = `The worker of queue ${shown(this.#queue)} was closed`
    const message = `${what}, and the handler did not end within ${this.#options.closeTimeout} ms.`
    execution.abortFor(new NuxtQueueError('NQ_CLOSED', message), GRACE_MS)
  }

  #stalled({ name, data }: StalledJob, silentForMs: number): void {
    const reason = 'its worker gave no sign of life'
    this.#engine
      .call('stalled', { runId: data.runId, stepName: name, silentForMs, reason })
      .catch((error) =>
        warn(`Step ${name} of run ${data.runId} stalled, which could not be recorded`, error, 'NQ_STALLED'),
      )
  }

  async #run(job: TakenJob): Promise<StepOutcome> {
    // It was on its way here when the queue was told that nothing more is taken.
    if (this.#closing) return { kind: 'retry', delay: 0, error: this.#tooLate() }
    const own = this.#handlers.get(`${job.data.flowName}/${job.name}`) ?? this.#handlers.get(job.name)
    const handler = own ?? this.#engine.handlerOf(job)
    if (handler === undefined) {
      this.#engine.availability.watch([job])
      return { kind: 'retry', delay: RETRY_ELSEWHERE_MS, error: this.#noHandler(job) }
    }
    this.#slots.take()
    let execution: StepExecution | undefined
    const executionId = randomUUID()
    try {
      const begun = await this.#begin(job, executionId)
      if (!begun.run) return begun.elsewhere ? await this.#leave(job, begun) : this.#refuse(job, begun)
      if (begun.rerun) await this.#handOverAgain(job)
      execution = this.#execution(job, begun, executionId)
      const outcome = await Promise.race([this.#execute(execution, handler), execution.abandoned])
      execution.span?.end(outcome)
      if (outcome.kind === 'retry' && execution.handBack) await this.#release(job, executionId, execution.handBack)
      return outcome
    } catch (error) {
      await this.#release(job, executionId, error)
      const outcome = toOutcome(error)
      execution?.span?.end(outcome)
      return outcome
    } finally {
      if (execution) this.#finish(execution)
      else this.#slots.leave()
    }
  }

  async #begin(job: TakenJob, executionId: string) {
    const { runId, flowName, input } = job.data
    const { workerId, instanceId } = this.#options
    return await this.#engine.call('beginStep', {
      ...{ runId, flowName, stepName: job.name, queue: job.queue, jobId: job.jobId },
      ...{ executionId, workerId, instanceId, input: Json.of(input, 'input'), maxAttempts: job.maxAttempts },
      isOfEngine: job.isForeign !== true,
    })
  }

  /**
   * An earlier execution may have emitted something and not have handed over what follows. If the step does not come
   * to that emit again, as its state says that it has done it, nobody else would.
   */
  async #handOverAgain({ name, data }: TakenJob): Promise<void> {
    const { jobs } = await this.#engine.call('reconcile', { runId: data.runId })
    await this.#engine.dispatch(jobs.filter((job) => job.name !== name))
  }

  #execution(job: TakenJob, begun: BegunStep, executionId: string): StepExecution {
    const { workerId, instanceId, suspendAfter } = this.#options
    const engine = this.#engine
    const slots = this.#slots
    const execution = new StepExecution({
      ...{ engine, job, begun, executionId, workerId, instanceId, slots, suspendAfter },
    })
    this.#running.add(execution)
    if (this.#closing) execution.close()
    if (this.#aborted) this.#abortExecution(execution)
    return execution
  }

  #finish(execution: StepExecution): void {
    execution.finish()
    this.#running.delete(execution)
  }

  /** Runs the handler and records how it ended. */
  async #execute(execution: StepExecution, handler: surface.StepHandler): Promise<StepOutcome> {
    let result: Json | undefined
    let flushed: Promise<void> | undefined
    try {
      const input = await this.#input(execution)
      const { context, logger } = createContext(execution)
      const call = () => handler(input, context)
      const returned = await (execution.span ? execution.span.run(call) : call())
      await execution.handlerEnded()
      if (!execution.isRunning) return { kind: 'done', discarded: true }
      if (execution.fatal) throw execution.fatal
      result = toResult(returned)
      flushed = this.#flush(execution, logger)
    } catch (error) {
      return await this.#fail(execution, error)
    }
    const [outcome] = await Promise.all([this.#complete(execution, result), flushed])
    return outcome
  }

  /**
   * What was logged goes before the end of the step without being waited for. A step doesn't fail for its log; if it is
   * the store that fails, so does what comes next.
   */
  async #flush({ id }: StepExecution, logger: RunLogger): Promise<void> {
    try {
      await logger.flush()
    } catch (error) {
      warn(`A log line of step ${id.stepName} of run ${id.runId} could not be stored`, error, 'NQ_LOG')
    }
  }

  /** What the handler is given. An input that its schema refuses is refused the next time, too. */
  async #input({ place, runId }: StepExecution): Promise<unknown> {
    const { begun, job } = place
    const schema = this.#engine.schemas.get(begun.flowName)?.steps.get(job.name)
    if (schema === undefined) return begun.input
    const outcome = await validate(schema, begun.input)
    if ('value' in outcome) return outcome.value
    const what = `The input of step ${job.name} of run ${runId} does not fit its schema`
    throw final(new NuxtQueueError('NQ_VALIDATION', `${what}: ${outcome.issues.join('; ')}`))
  }

  async #complete(execution: StepExecution, result: Json | undefined): Promise<StepOutcome> {
    try {
      await execution.handOverRest()
      const { accepted, ended } = await this.#engine.call('completeStep', { ...execution.id, result })
      if (ended) this.#engine.runEnded(execution.runId)
      return accepted ? { kind: 'done' } : { kind: 'done', discarded: true }
    } catch (error) {
      // A result that the store refuses is refused the next time, too; anything else is the store's trouble.
      if (isRefused(error)) return await this.#fail(execution, final(error))
      throw error
    }
  }

  async #fail(execution: StepExecution, error: unknown): Promise<StepOutcome> {
    await execution.handlerEnded()
    if (execution.isSuspended) return { kind: 'suspended' }
    const { handBack } = execution
    if (handBack) return { kind: 'retry', delay: 0, error: handBack }
    const failure = describe(execution.fatal ?? error)
    if (execution.fatal || finals.has(error as object)) failure.final = true
    const { maxAttempts } = execution.place.begun
    const request = { ...execution.id, ...failure, maxAttempts }
    const { accepted, retry, ended } = await this.#engine.call('failStep', request)
    if (!accepted) return { kind: 'done', discarded: true }
    if (retry) return { kind: 'retry', delay: retry.delay, error }
    if (ended) {
      this.#engine.executions.delete(execution)
      this.#engine.executions.end(execution.runId, `step ${execution.id.stepName} failed`)
      this.#engine.runEnded(execution.runId)
    }
    return { kind: 'failed', error }
  }

  /**
   * Records that the step is given back, so that it does not look as if its process had died. If that can't be
   * recorded now, it will look like that.
   */
  async #release({ name, data }: TakenJob, executionId: string, cause: unknown): Promise<void> {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const released = this.#engine.call('releaseStep', { runId: data.runId, stepName: name, executionId, reason })
    const late = new Promise<void>((resolve) => setTimeout(resolve, RELEASE_MS).unref())
    await Promise.race([released.then(noop, noop), late])
  }

  /** Leaves a step to code of another version; where there is none, that is recorded. */
  async #leave({ name, data }: TakenJob, { reason }: RefusedStep): Promise<StepOutcome> {
    const isAnywhere = await this.#engine.availability.check(data.runId, name)
    const delay = isAnywhere ? RETRY_OTHER_VERSION_MS : RETRY_ELSEWHERE_MS
    return { kind: 'retry', delay, error: new NuxtQueueError('NQ_NOT_FOUND', reason) }
  }

  /** There is nothing to do, or it has failed without being run, and its run with it. */
  #refuse({ data }: TakenJob, { reason, failed = false }: RefusedStep): StepOutcome {
    if (!failed) return { kind: 'done' }
    this.#engine.runEnded(data.runId)
    return { kind: 'failed', error: new NuxtQueueError('NQ_CONFLICT', reason) }
  }

  #tooLate(): NuxtQueueError {
    return new NuxtQueueError('NQ_CLOSED', `The worker of queue ${shown(this.#queue)} takes no more jobs.`)
  }

  #noHandler({ name, data }: TakenJob): NuxtQueueError {
    const known = [...this.#handlers.keys()].map(shown).join(', ')
    const what = `The worker of queue ${shown(this.#queue)} has no handler for step ${shown(name)} of flow ${shown(data.flowName)}`
    return new NuxtQueueError('NQ_NOT_FOUND', `${what}; it has ${known}. The job is left to other instances.`)
  }
}

/** Errors after which trying again is of no use. */
const finals = new WeakSet<object>()

function final<E>(error: E): E {
  if (typeof error === 'object' && error !== null) finals.add(error)
  return error
}

function readHandlers(handlers: unknown): Map<string, surface.StepHandler> {
  const entries = Object.entries(checkObject(handlers as Record<string, surface.StepHandler>, 'handlers'))
  if (entries.length === 0) throw invalid('handlers', handlers, 'at least one handler, by the name of its step')
  for (const [name, handler] of entries) {
    if (typeof handler !== 'function') throw invalid(`handlers.${name}`, handler, 'a function')
  }
  return new Map(entries)
}

function toResult(returned: unknown): Json | undefined {
  try {
    return Json.of(returned, 'result')
  } catch (error) {
    throw final(error)
  }
}

function isRefused(error: unknown): boolean {
  return error instanceof NuxtQueueError && ['NQ_INVALID_EVENT', 'NQ_TOO_LARGE'].includes(error.code)
}

/** What becomes of a job whose step could not be begun or ended: the record says the same as before. */
function toOutcome(error: unknown): StepOutcome {
  return { kind: 'retry', delay: RETRY_LATER_MS, error }
}
