// @ts-check
/**
 * @typedef {import('nuxt-queue-core').EventStore} EventStore
 * @typedef {import('nuxt-queue-core').NewEvent} NewEvent
 * @typedef {'debug' | 'info' | 'warn' | 'error'} Level
 */

/**
 * What the steps of one run share.
 *
 * @template {object} S the run's state, key by key
 * @typedef {object} Run
 * @property {EventStore} store
 * @property {string} stream the run's stream, `nq:flow:{runId}`
 * @property {string} runId
 * @property {string} flowName
 */

/**
 * What a step gets to work with.
 *
 * @template {object} S
 * @typedef {object} StepContext
 * @property {import('nuxt-queue-core').RunState<S>} state
 * @property {Logger} logger
 */

/**
 * What a step gives back: `output` goes to the caller, `result` into the step's completed event.
 *
 * @template T
 * @typedef {{ output: T, result: unknown }} StepOutcome
 */

/**
 * Runs one step: `flow.step.started`, the work, `flow.step.completed` (or `flow.step.failed`).
 *
 * @template {object} S
 * @template T
 * @param {Run<S>} run
 * @param {string} stepName
 * @param {(context: StepContext<S>) => Promise<StepOutcome<T>>} work
 * @returns {Promise<T>} the work's `output`
 * @throws what the work or the store throws
 */
export async function runStep({ store, stream, runId, flowName }, stepName, work) {
  const envelope = { runId, flowName, stepName, stepId: `${runId}__${stepName}__attempt-1`, attempt: 1 }
  const logger = new Logger(store, stream, envelope)
  await store.append(stream, { ...envelope, type: 'flow.step.started', data: {} })
  try {
    const { output, result } = await work({ state: store.state(runId, envelope), logger })
    await logger.flush()
    await store.append(stream, { ...envelope, type: 'flow.step.completed', data: { result } })
    return output
  } catch (error) {
    await recordFailure(store, stream, { ...envelope, type: 'flow.step.failed', data: { error: messageOf(error) } })
    throw error
  }
}

/**
 * Appends an event about a failure. Where the store itself is what failed this fails too; the first
 * error is the one worth reporting, so a second one is dropped.
 *
 * @param {EventStore} store
 * @param {string} stream
 * @param {NewEvent} event
 */
export async function recordFailure(store, stream, event) {
  await store.append(stream, event).catch(() => {})
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error)
}

/**
 * A logger as an application has it: nobody waits for a line. Appends of one thread keep the order of
 * the calls, so a line still stands in the timeline exactly where it was logged.
 */
export class Logger {
  /** @type {Promise<void>[]} */
  #pending = []
  /** @type {{ error: unknown } | undefined} */
  #failure

  /**
   * @param {EventStore} store
   * @param {string} stream
   * @param {import('nuxt-queue-core').EventEnvelope} envelope put on every line
   */
  constructor(store, stream, envelope) {
    this.store = store
    this.stream = stream
    this.envelope = envelope
  }

  /** @param {string} message @param {Record<string, unknown>} [metadata] */
  debug(message, metadata) {
    this.#log('debug', message, metadata)
  }

  /** @param {string} message @param {Record<string, unknown>} [metadata] */
  info(message, metadata) {
    this.#log('info', message, metadata)
  }

  /** Resolves when every line so far is stored; throws the first failure. */
  async flush() {
    await Promise.all(this.#pending.splice(0))
    if (this.#failure) throw this.#failure.error
  }

  /** @param {Level} level @param {string} message @param {Record<string, unknown>} [metadata] */
  #log(level, message, metadata) {
    const line = { ...this.envelope, type: /** @type {const} */ (`log.${level}`), data: { level, message, metadata } }
    const stored = this.store.append(this.stream, line).then(
      () => {},
      (error) => {
        this.#failure ??= { error }
      },
    )
    this.#pending.push(stored)
  }
}
