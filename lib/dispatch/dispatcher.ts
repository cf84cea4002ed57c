/**
 * Brings the jobs of steps to those who run them. What a job's outcome means is the engine's business: a dispatcher
 * hands jobs out, again after `retry`, and counts nothing.
 */

/** A step to run. Its `jobId` is the same whenever the same run of the step is handed over. */
export interface StepJob {
  queue: string
  /** The step. */
  name: string
  jobId: string
  data: { runId: string; flowName: string; input: unknown; attempt: number; traceparent?: string }
}

/** How the run of a job ended. */
export type StepOutcome =
  /** There is nothing more to do. `discarded`: what the handler came to does not count. */
  | { kind: 'done'; discarded?: true }
  /** The step waits, and another job will go on with it. */
  | { kind: 'suspended' }
  /** The same job is handed out again after `delay` milliseconds. */
  | { kind: 'retry'; delay: number; error: unknown }
  /** The step failed for good. */
  | { kind: 'failed'; error: unknown }

/** A job that was handed out. */
export interface TakenJob extends StepJob {
  /** How often the job may be tried, if it says so itself; jobs of the original module do. */
  maxAttempts?: number
  /** Somebody else put it into the queue: its run need not have been started by an engine. */
  isForeign?: true
  /**
   * Tells that the handler only waits from now on, or works again. One that waits makes room for another, and `idle()`
   * does not wait for it.
   */
  waiting?(isWaiting: boolean): void
}

/** Called with each job; a rejection means that the outcome is unknown, and the job is handed out again. */
export type RunJob = (job: TakenJob) => Promise<StepOutcome>

/** A job whose worker is gone. */
export type StalledJob = Pick<StepJob, 'name' | 'data'>

export interface WorkOptions {
  /** How many jobs run at the same time. */
  concurrency: number
  /**
   * Called when the worker of a job turns out to be gone, after at least so many milliseconds without a sign of life;
   * the job may have been handed out again already.
   */
  onStalled(job: StalledJob, silentForMs: number): void
}

export interface DispatchOptions {
  /**
   * The record says that these jobs have to run: one that ended already runs once more. It costs a look at each, so it
   * is for putting things right, not for the normal way.
   */
  again?: boolean
}

export interface Dispatcher {
  /**
   * Puts jobs into their queues. A job whose id is in the queue, delayed or running is not put there again. Rejects
   * when it is not known whether all are there; a repetition is harmless.
   */
  dispatch(jobs: readonly StepJob[], options?: DispatchOptions): Promise<void>
  /** Runs the jobs of a queue, beside others that do. */
  work(queue: string, run: RunJob, options: WorkOptions): Promise<Work>
  /**
   * Where jobs end with the process: resolves when no job of the run is here any more, and never if the dispatcher is
   * closed before. `undefined`: none is here.
   */
  whenGone?(runId: string): Promise<void> | undefined
  /** Resolves when no job is running or could run here, but for those that only wait. */
  idle(): Promise<void>
  /** Ends it; close all work before. */
  close(): Promise<void>
}

/** Takes jobs from a queue until it is closed. */
export interface Work {
  /** Takes no new job and waits for those that run. */
  close(): Promise<void>
}

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 30_000

/** How long a job rests that was handed out `times` times, the last time with an unknown outcome. */
export function pauseAfter(times: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** Math.max(0, times - 1), LONGEST_PAUSE_MS)
}
