/**
 * The steps that run in this process, by run.
 */

import { NuxtQueueError } from './errors.js'

/** A step that runs here. */
export interface LiveExecution {
  readonly runId: string
  /** Something may have happened to an await, or to any. */
  wake(awaitId?: string): void
  /** Its run has ended without it. */
  end(reason: NuxtQueueError): void
}

/** Tells steps what happens to their runs. */
export class Executions {
  readonly #byRun = new Map<string, Set<LiveExecution>>()

  add(execution: LiveExecution): void {
    const ofRun = this.#byRun.get(execution.runId) ?? new Set()
    this.#byRun.set(execution.runId, ofRun.add(execution))
  }

  delete(execution: LiveExecution): void {
    const ofRun = this.#byRun.get(execution.runId)
    if (ofRun?.delete(execution) && ofRun.size === 0) this.#byRun.delete(execution.runId)
  }

  wake(runId: string, awaitId?: string): void {
    for (const execution of this.#byRun.get(runId) ?? []) execution.wake(awaitId)
  }

  end(runId: string, detail = 'it was canceled, or another step failed'): void {
    for (const execution of [...(this.#byRun.get(runId) ?? [])]) {
      execution.end(new NuxtQueueError('NQ_CANCELED', `Run ${runId} has ended: ${detail}.`))
    }
  }
}
