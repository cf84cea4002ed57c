/**
 * One execution of a step in this process: whether it works or waits, and how it is ended from outside.
 */

import type { StepJob } from '../index.js'
import type { StepOutcome, TakenJob } from './dispatch/dispatcher.js'
import type { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import type { LiveExecution } from './executions.js'
import type { BegunStep, Execution } from './native-flows.js'
import type { Slots } from './slots.js'
import type { StepSpan } from './telemetry/step-span.js'
import { warn } from './warn.js'

/** Between two attempts to suspend, so that one that is refused again and again doesn't spin. */
const SUSPEND_AGAIN_MS = 100

/** After an attempt that failed. */
const RECOVER_MS = 1000

const noop = () => {}

export interface ExecutionPlace {
  engine: Engine
  job: TakenJob
  begun: BegunStep
  executionId: string
  /** Adds worker and instance to what the step writes. */
  workerId: string
  instanceId: string
  slots: Slots
  suspendAfter: number
}

/** An await that this execution waits in. */
export interface Waiter {
  readonly awaitId: string
  /** After how many awaits the handler had gone on when it began this one. */
  readonly begunAfter: number
  /** Something came since it looked last. */
  woken: boolean
  failure?: NuxtQueueError
  resume?: () => void
}

type Phase = 'running' | 'suspending' | 'suspended' | 'ended'

/** An execution of a step. */
export class StepExecution implements LiveExecution {
  readonly place: ExecutionPlace
  readonly runId: string
  readonly id: Execution
  /** Who is told of it, if anybody. */
  readonly span: StepSpan | undefined
  /** Resolves with an outcome if the execution is given up before its handler has ended. */
  readonly abandoned: Promise<StepOutcome>
  /** What makes a further attempt pointless, whatever the handler makes of it. */
  fatal: NuxtQueueError | undefined
  /** How many awaits it has begun. */
  #begun = 0
  /** How many awaits it has gone on after. */
  #passed = 0
  /** The same when it began the last one. */
  #lastBegunAfter = 0
  /** It has gone on after all that an earlier execution has come to. */
  #isBeyond = false
  /** The awaits that it has begun and that earlier executions have gone on after, by when they did. */
  readonly #repeated = new Map<string, number>()
  #whenRepeated: Array<() => void> = []
  /**
   * It has gone on after an await that it began beside others, and has not begun another: the handler may work now,
   * as after a race, whatever it still waits for. So it must not be suspended.
   */
  #mayWork = false
  /** Its handler has returned or thrown. */
  #handlerEnded = false
  /** Made when someone asks for the signal. */
  #abort: AbortController | undefined
  #aborted: NuxtQueueError | undefined
  readonly #waiters = new Set<Waiter>()
  #abandon: (outcome: StepOutcome) => void = noop
  #phase: Phase = 'running'
  /** The attempt to suspend that is under way. */
  #decision: Promise<void> | undefined
  /** Calls of the context that are under way, but for those that wait in an await. */
  #calls = 0
  #whenDone: Array<() => void> = []
  /** How many wait in an await. */
  #waits = 0
  /** Jobs of its emits that could not be handed over yet. */
  readonly #unhanded: StepJob[] = []
  #isIdle = false
  #hasSlot = true
  #isClosing = false
  /** The next attempt to suspend is made after so many milliseconds at the earliest. */
  #leastDelay = 0
  /** Why the job is to be handed back, although its handler may have failed because of it. */
  #handBack: NuxtQueueError | undefined
  #cancelTimer = noop

  constructor(place: ExecutionPlace) {
    const { runId } = place.job.data
    this.place = place
    this.runId = runId
    this.id = { runId, stepName: place.job.name, executionId: place.executionId }
    this.abandoned = new Promise((resolve) => {
      this.#abandon = resolve
    })
    place.engine.executions.add(this)
    this.span = place.engine.telemetry?.beginStep(place.job, place.begun)
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#aborted !== undefined) this.#abort.abort(this.#aborted)
    }
    return this.#abort.signal
  }

  /** The first reason counts. */
  #abortWith(reason: NuxtQueueError): void {
    this.#aborted ??= reason
    this.#abort?.abort(reason)
  }

  get isSuspended(): boolean {
    return this.#phase === 'suspended'
  }

  get isRunning(): boolean {
    return this.#phase === 'running' || this.#phase === 'suspending'
  }

  /** Whether it does what an earlier execution did and wrote already. */
  get isReplaying(): boolean {
    const { rerun, awaits } = this.place.begun
    return rerun && awaits.length > 0 && !this.#isBeyond
  }

  /** A call of the context: the step is not just waiting meanwhile. */
  act<T>(call: () => Promise<T>): Promise<T> {
    return this.orUnheard(() => {
      if (this.isSuspended) return Promise.reject(suspended(this.id))
      return this.#phase === 'suspending' ? this.#actLater(call) : this.#act(call)
    })
  }

  /** A handler may not look at what fails, be it that it has ended: that must not end the process. */
  orUnheard<T>(call: () => Promise<T>): Promise<T> {
    const outcome = call()
    outcome.catch(noop)
    return outcome
  }

  async #actLater<T>(call: () => Promise<T>): Promise<T> {
    await this.#decision
    return await this.act(call)
  }

  async #act<T>(call: () => Promise<T>): Promise<T> {
    this.#calls++
    this.#update()
    try {
      return await call()
    } finally {
      this.#endCall()
    }
  }

  #endCall(): void {
    this.#calls--
    if (this.#calls === 0) for (const resolve of this.#whenDone.splice(0)) resolve()
    this.#update()
  }

  /**
   * Its handler has returned or thrown: it is not suspended any more, since its outcome would be lost. Resolves when no
   * call of the context is under way, also those that its handler did not await.
   */
  async handlerEnded(): Promise<void> {
    this.#handlerEnded = true
    this.#update()
    await this.#decision
    if (this.#calls > 0) await new Promise<void>((resolve) => this.#whenDone.push(resolve))
  }

  /** Hands over the jobs of an emit. What fails is repeated before the execution ends: the record owes it to nobody. */
  async handOver(jobs: readonly StepJob[]): Promise<void> {
    this.#unhanded.push(...jobs)
    try {
      await this.handOverRest()
    } catch (error) {
      warn('Jobs of a step could not be handed over; this is tried again', error, 'NQ_HAND_OVER')
    }
  }

  async handOverRest(): Promise<void> {
    const jobs = this.#unhanded.splice(0)
    try {
      await this.place.engine.dispatch(jobs)
    } catch (error) {
      this.#unhanded.push(...jobs)
      throw error
    }
  }

  /** An await is looked at from now on. */
  addWaiter(awaitId: string): Waiter {
    const waiter: Waiter = { awaitId, begunAfter: this.#passed, woken: false }
    this.#waiters.add(waiter)
    this.#begun++
    this.#lastBegunAfter = this.#passed
    this.#mayWork = false
    const { resumed } = this.place.begun.awaits.find((known) => known.awaitId === awaitId) ?? {}
    if (resumed !== undefined) this.#repeated.set(awaitId, resumed)
    return waiter
  }

  deleteWaiter(waiter: Waiter): void {
    this.#waiters.delete(waiter)
    if (!this.#repeated.delete(waiter.awaitId)) return
    for (const resolve of this.#whenRepeated.splice(0)) resolve()
  }

  /**
   * Resolves when it is the turn of an await: of several that have been answered by now, the handler goes on after them
   * in the order in which an earlier execution did. Otherwise a race might have another winner.
   */
  async turn({ awaitId }: Waiter): Promise<void> {
    const own = this.#repeated.get(awaitId) ?? Number.POSITIVE_INFINITY
    while ([...this.#repeated.values()].some((other) => other < own)) {
      await new Promise<void>((resolve) => this.#whenRepeated.push(resolve))
    }
  }

  /** Resolves when there is something new about the await; within a call of {@link act}. */
  async wait(waiter: Waiter): Promise<void> {
    if (!waiter.woken && waiter.failure === undefined) {
      await new Promise<void>((resolve) => {
        waiter.resume = () => {
          waiter.resume = undefined
          // At once: from now on the step does not just wait.
          this.#waits--
          this.#calls++
          this.#update()
          resolve()
        }
        this.#waits++
        this.#endCall()
      })
    }
    waiter.woken = false
    if (waiter.failure !== undefined) throw waiter.failure
    // Whoever goes on while the step may have been suspended would do it twice.
    await this.#decision
    if (this.isSuspended) throw suspended(this.id)
  }

  /** Before the handler goes on: as many handlers as there are slots, those that wait not counted. */
  async goOn({ begunAfter }: Waiter): Promise<void> {
    this.#isBeyond ||= this.#begun >= this.place.begun.awaits.length
    this.#passed++
    // A late one of those before the last changes nothing: its race is over.
    if (begunAfter === this.#lastBegunAfter) this.#mayWork = true
    this.#leastDelay = 0
    if (this.#hasSlot) return
    this.#hasSlot = true
    await this.place.slots.enter()
  }

  wake(awaitId?: string): void {
    for (const waiter of [...this.#waiters]) {
      if (awaitId !== undefined && waiter.awaitId !== awaitId) continue
      waiter.woken = true
      waiter.resume?.()
    }
  }

  /** Its run has ended. */
  end(reason: NuxtQueueError): void {
    if (!this.isRunning) return
    this.#abortWith(reason)
    for (const waiter of [...this.#waiters]) {
      waiter.failure = reason
      waiter.resume?.()
    }
  }

  /** The worker closes: a step that waits, now or later, is suspended at once. */
  close(): void {
    this.#isClosing = true
    if (this.#isIdle) this.#arm()
  }

  /** The worker waits no longer: the handler gets a moment to react, then the job is handed back. */
  abortFor(reason: NuxtQueueError, graceMs: number): void {
    if (!this.isRunning) return
    this.#handBack = reason
    this.#abortWith(reason)
    setTimeout(() => this.#abandon({ kind: 'retry', delay: 0, error: reason }), graceMs)
  }

  /** Why the job is to be handed back, whatever its handler threw. */
  get handBack(): NuxtQueueError | undefined {
    return this.#handBack
  }

  /** The handler has ended, or was given up. */
  finish(): void {
    if (this.#phase !== 'suspended') this.#phase = 'ended'
    this.#cancelTimer()
    this.#waiters.clear()
    this.place.engine.executions.delete(this)
    if (this.#hasSlot) this.place.slots.leave()
    this.#hasSlot = false
  }

  #update(): void {
    const canIdle = this.#phase === 'running' && !this.#handlerEnded
    const isIdle = canIdle && this.#calls === 0 && this.#waits > 0
    if (isIdle === this.#isIdle) return
    this.#isIdle = isIdle
    this.#cancelTimer()
    this.place.job.waiting?.(isIdle)
    if (!isIdle) return
    if (this.#hasSlot) this.place.slots.leave()
    this.#hasSlot = false
    this.#arm()
  }

  #arm(): void {
    this.#cancelTimer()
    if (this.#mayWork) return
    const delay = Math.max(this.#isClosing ? 0 : this.place.suspendAfter, this.#leastDelay)
    const { timers } = this.place.engine.options
    if (this.#isClosing) {
      // Closing must not wait for a clock that a test moves.
      const timer = setTimeout(() => this.#suspend(), delay)
      this.#cancelTimer = () => clearTimeout(timer)
    } else this.#cancelTimer = timers.at(timers.now() + delay, () => this.#suspend())
  }

  #suspend(): void {
    if (!this.#isIdle || this.#mayWork) return
    this.#phase = 'suspending'
    this.#update()
    this.#decision = this.place.engine.activity.track(async () => {
      const isSuspended = await this.#trySuspend()
      this.#decision = undefined
      // The handler may have ended meanwhile.
      if (this.#phase !== 'suspending') return
      if (isSuspended) this.#leave()
      else this.#stay()
    })
  }

  /** Whether the step is suspended, or no longer this execution's business. */
  async #trySuspend(): Promise<boolean> {
    this.#leastDelay = SUSPEND_AGAIN_MS
    try {
      await this.handOverRest()
      return (await this.place.engine.call('suspendStep', this.id)).suspended
    } catch (error) {
      this.#leastDelay = RECOVER_MS
      return error instanceof NuxtQueueError && error.code === 'NQ_CONFLICT'
    }
  }

  #leave(): void {
    this.#phase = 'suspended'
    this.#waiters.clear()
    this.#abortWith(suspended(this.id))
    this.#abandon({ kind: 'suspended' })
  }

  /** Something came meanwhile, or nobody knows: the waiters look, and a further attempt is made later. */
  #stay(): void {
    this.#phase = 'running'
    this.#update()
    this.wake()
  }
}

function suspended({ runId, stepName }: Execution): NuxtQueueError {
  const what = `Step ${stepName} of run ${runId} was suspended while it waited`
  return new NuxtQueueError('NQ_SUSPENDED', `${what}; another execution goes on with it, this one is given up.`)
}
