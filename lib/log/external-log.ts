/**
 * The way of lines to a logger outside. Nobody waits for it, and it can't harm whoever logs: it may throw, reject or
 * never answer.
 */

import type { ExternalLogStats, LogEntry } from '../../index.js'
import { warn } from '../warn.js'
import type { LogWriter } from './adapter.js'

/** How many lines an asynchronous adapter may be busy with. */
const MOST_AT_ONCE = 64

/** What may wait for it, in characters of JSON. */
const MOST_WAITING = 1 << 23

/** What a line takes beside its text. */
const OVERHEAD = 512

/** An answer that has not come by then never comes. In real time: it is not a matter of the flows' clock. */
const PATIENCE_MS = 10_000

/** Hands lines to an adapter, in order. Those that an asynchronous one can't take yet wait, up to a bound. */
export class ExternalLog {
  readonly #write: LogWriter
  /** Lines that wait, with what they weigh, oldest first. */
  readonly #waiting = new Map<LogEntry, number>()
  #weight = 0
  #underWay = 0
  #isCalling = false
  #isClosed = false
  readonly #counts = { written: 0, failed: 0, dropped: 0 }
  #whenIdle = () => {}

  constructor(write: LogWriter) {
    this.#write = write
  }

  /** Takes a line. Never throws. */
  write(entry: LogEntry): void {
    // An adapter that logs what it is given would never come to an end.
    if (this.#isCalling || this.#isClosed) this.#drop(1)
    else if (this.#underWay < MOST_AT_ONCE && this.#waiting.size === 0) this.#hand(entry)
    else this.#wait(entry)
  }

  stats(): ExternalLogStats {
    return { ...this.#counts, waiting: this.#waiting.size + this.#underWay }
  }

  /** Resolves when all lines are handed over and answered for, or after `ms` milliseconds; takes no more lines. */
  async close(ms: number): Promise<void> {
    if (this.#isIdle) {
      this.#isClosed = true
      return
    }
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve
      timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
    this.#isClosed = true
    this.#drop(this.#waiting.size)
    this.#waiting.clear()
    this.#weight = 0
  }

  get #isIdle(): boolean {
    return this.#underWay === 0 && this.#waiting.size === 0
  }

  #wait(entry: LogEntry): void {
    const weight = JSON.stringify(entry).length + OVERHEAD
    if (this.#weight + weight > MOST_WAITING) this.#drop(1)
    else {
      this.#weight += weight
      this.#waiting.set(entry, weight)
    }
  }

  #hand(entry: LogEntry): void {
    this.#isCalling = true
    try {
      const answer = this.#write(entry)
      if (isThenable(answer)) void this.#follow(answer)
      else this.#counts.written++
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#isCalling = false
    }
  }

  async #follow(answer: PromiseLike<unknown>): Promise<void> {
    this.#underWay++
    try {
      await orLate(answer)
      this.#counts.written++
    } catch (error) {
      this.#fail(error)
    }
    this.#underWay--
    this.#handOn()
    if (this.#isIdle) this.#whenIdle()
  }

  #handOn(): void {
    for (const [entry, weight] of this.#waiting) {
      if (this.#underWay >= MOST_AT_ONCE) return
      this.#waiting.delete(entry)
      this.#weight -= weight
      this.#hand(entry)
    }
  }

  /** Said once: there may be as many failures as lines. */
  #fail(error: unknown): void {
    if (this.#counts.failed++ > 0) return
    warn('The adapter of external logs failed; the line is lost there, and so may be others', error, 'NQ_LOG_EXTERNAL')
  }

  #drop(count: number): void {
    if (count === 0) return
    this.#counts.dropped += count
    if (this.#counts.dropped > count) return
    const reason = 'its adapter does not keep up, or logs by itself what it is given'
    warn('Lines are missing in the external log; core.logs.stats() counts them', reason, 'NQ_LOG_DROPPED')
  }
}

function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof answer === 'object' && answer !== null && typeof (answer as { then?: unknown }).then === 'function'
}

/** The answer, or a failure if it does not come. */
async function orLate(answer: PromiseLike<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new Error(`It has not answered within ${PATIENCE_MS} ms.`)
    timer = setTimeout(() => reject(error), PATIENCE_MS).unref()
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
