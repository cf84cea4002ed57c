/**
 * Finishes what somebody began and did not finish: jobs that were to be handed over, firings.
 */

import type { Engine } from './engine.js'
import { warn } from './warn.js'

const EVERY_MS = 15_000

/** How long others have to finish it themselves. */
const OLDER_THAN_MS = 10_000

/** Looks from time to time, where others may have left something, and after an own failure. */
export class Sweeper {
  readonly #engine: Engine
  #cancel: (() => void) | undefined
  #stopped = false
  #failed = false
  #isFirst = true

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Looks at once, and from then on. */
  start(): void {
    void this.#sweep()
  }

  /** Something was left. */
  expect(): void {
    if (this.#stopped) return
    const { timers } = this.#engine.options
    this.#cancel ??= timers.at(timers.now() + EVERY_MS, () => {
      this.#cancel = undefined
      void this.#sweep()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  async #sweep(): Promise<void> {
    try {
      // A process that is alone leaves nothing but what has failed, and its tests move the clock by years.
      if (this.#engine.options.isShared) {
        this.expect()
        await this.#finish()
      } else await this.#engine.activity.track(() => this.#finish())
      this.#failed = false
    } catch (error) {
      if (this.#stopped) return
      this.expect()
      if (!this.#failed) warn('What is left to do could not be looked for; this is tried again', error, 'NQ_SWEEP')
      this.#failed = true
    }
  }

  async #finish(): Promise<void> {
    const engine = this.#engine
    // Where only one process writes, whoever left something before it began can't be at it any more.
    const olderThanMs = this.#isFirst && engine.options.outlivesJobs ? 0 : OLDER_THAN_MS
    for (const debt of await engine.call('owed', { olderThanMs })) {
      if (engine.holds(debt.runId)) continue
      // Jobs that had ended before, with an outcome that the record does not have, have to run once more.
      await engine.dispatch(debt.jobs, { again: true })
      await engine.settleDebt(debt)
    }
    const { jobs, runIds, fired } = await engine.call('finishFirings', { olderThanMs })
    this.#isFirst = false
    for (const [name, status] of fired) engine.telemetry?.fired(name, status)
    for (const runId of runIds) engine.executions.wake(runId)
    if (runIds.length > 0 || jobs.length > 0) await engine.handOverOrWarn(runIds, jobs)
  }
}
