/** What a soak has written, what its runs' state has to be by that, and what went wrong. */

import { isDeepStrictEqual } from 'node:util'

/** @typedef {import('../../index.js').EventStore} EventStore */
/** @typedef {import('../../index.js').NewEvent} NewEvent */

export class Journal {
  /** Events that the store has acknowledged. */
  written = 0
  /** Runs that were begun. */
  runs = 0
  /** Reads of a run's state that were compared. */
  checks = 0
  /** @type {Map<string, number>} what failed, and how often */
  failures = new Map()

  /**
   * @param {EventStore} store
   * @param {string} runId
   */
  begin(store, runId) {
    this.runs++
    return new JournalRun(this, store, runId)
  }

  /**
   * Notes a failure in place of throwing it: the soak goes on, and the verdict will tell.
   * @param {Promise<unknown>} promise
   */
  async guard(promise) {
    try {
      await promise
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error))
    }
  }

  /** @param {string} message */
  fail(message) {
    this.failures.set(message, (this.failures.get(message) ?? 0) + 1)
  }
}

export class JournalRun {
  #journal
  #store
  #state
  /** @type {Record<string, unknown>} */
  #expected = {}

  /**
   * @param {Journal} journal
   * @param {EventStore} store
   * @param {string} runId
   */
  constructor(journal, store, runId) {
    this.runId = runId
    this.stream = `nq:flow:${runId}`
    this.#journal = journal
    this.#store = store
    this.#state = store.state(runId, { flowName: 'soak' })
  }

  /**
   * @param {NewEvent['type']} type
   * @param {unknown} data
   * @param {string} [stepName]
   */
  async append(type, data, stepName) {
    const event = /** @type {NewEvent} */ ({ type, runId: this.runId, flowName: 'soak', stepName, data })
    await this.#store.append(this.stream, event)
    this.#journal.written++
  }

  /**
   * Nobody waits for a log line.
   * @param {string} message
   * @param {string} stepName
   */
  log(message, stepName) {
    this.#journal.guard(this.append('log.info', { level: 'info', message }, stepName))
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  async set(key, value) {
    await this.#state.set(key, value)
    this.#expected[key] = value
    this.#journal.written++
  }

  /** The state as the store gives it must be what was set. */
  async check() {
    const state = await this.#state.getAll()
    this.#journal.checks++
    if (!isDeepStrictEqual(state, this.#expected)) this.#journal.fail('the state of a run is not what was set')
  }
}
