/**
 * Acts on what is due when its time has come: deadlines of awaits, firings that were held back, schedules.
 */

import type { Engine } from './engine.js'
import { warn } from './warn.js'

const ASK_AGAIN_MS = 50

/** The pause after a failure, in real time. */
const RETRY_MS = 1000

/** One timer for all deadlines, set for the next. Every instance has one; whoever comes first acts. */
export class Deadlines {
  readonly #engine: Engine
  #next = Number.POSITIVE_INFINITY
  #cancel = () => {}
  #stopped = false
  #firing = false
  /** Asked for while it was under way. */
  #again = false
  #failed = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Acts on what passed while nobody was there. */
  start(): void {
    this.#fire()
  }

  /** There is a deadline at `ms`; `null`: there is none. */
  expect(ms: number | null): void {
    if (ms === null || ms >= this.#next || this.#stopped) return
    this.#next = ms
    this.#cancel()
    this.#cancel = this.#engine.options.timers.at(ms, () => this.#fire())
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #fire(): void {
    this.#next = Number.POSITIVE_INFINITY
    if (this.#firing) this.#again = true
    else this.#act()
  }

  #act(): void {
    this.#firing = true
    void this.#engine.activity.track(async () => {
      try {
        do {
          this.#again = false
          await this.#fireDue()
          // What came while it was under way may have come too late for it.
        } while (this.#again)
        this.#failed = false
      } catch (error) {
        this.#recover(error)
      } finally {
        this.#firing = false
      }
    })
  }

  async #fireDue(): Promise<void> {
    const { jobs, runIds, fired, next, more } = await this.#engine.call('fireDue', {})
    for (const [name, status] of fired) this.#engine.telemetry?.fired(name, status)
    for (const runId of runIds) this.#engine.executions.wake(runId)
    // The store's clock may be behind ours: it decides, and is not to be asked all the time.
    if (more) this.#again = true
    else if (next !== null && next <= this.#engine.options.timers.now()) this.#fireAfter(ASK_AGAIN_MS)
    else this.expect(next)
    if (runIds.length > 0 || jobs.length > 0) await this.#engine.handOverOrWarn(runIds, jobs)
  }

  /** In real time. */
  #fireAfter(ms: number): void {
    if (this.#stopped) return
    this.#cancel()
    const timer = setTimeout(() => this.#fire(), ms).unref()
    this.#cancel = () => clearTimeout(timer)
  }

  #recover(error: unknown): void {
    if (this.#stopped) return
    // It may be recorded, and not be worked off.
    this.#engine.sweeper.expect()
    // Once per outage: it may last.
    if (!this.#failed) warn('Deadlines could not be acted on; this is tried again', error, 'NQ_DEADLINE')
    this.#failed = true
    this.#fireAfter(RETRY_MS)
  }
}
