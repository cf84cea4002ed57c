// The events that every variant is given, and the loops that drive it.

const KEYS = 20

/**
 * State events with step fields, about 180 bytes of JSON each. `data.value` is the event's index:
 * the checks read the order back from it.
 *
 * @param {number} count
 * @param {string} runId
 * @returns {object[]}
 */
export function makeEvents(count, runId) {
  return Array.from({ length: count }, (_, i) => makeEvent(i, runId))
}

/**
 * One of `makeEvents`, for runs too long to be held as objects.
 *
 * @param {number} index
 * @param {string} runId
 */
export function makeEvent(index, runId) {
  return {
    type: 'state.set',
    runId,
    flowName: 'train-classifier',
    stepName: 'train',
    stepId: `${runId}__train__attempt-1`,
    attempt: 1,
    data: { key: stateKey(index), value: index },
  }
}

/** The key that the event of this index sets. */
export function stateKey(index) {
  return `metric-${index % KEYS}`
}

/** The state after `count` events of `makeEvents`. */
export function expectedState(count) {
  const state = {}
  for (let i = Math.max(0, count - KEYS); i < count; i++) state[stateKey(i)] = i
  return state
}

/**
 * Calls `operation(0 … count - 1)` with at most `inFlight` calls unsettled at any time; each lane
 * awaits its call before it takes the next index.
 *
 * @param {number} count
 * @param {number} inFlight
 * @param {(index: number) => Promise<unknown>} operation
 */
export async function runInFlight(count, inFlight, operation) {
  let next = 0
  async function lane() {
    while (next < count) await operation(next++)
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, lane))
}

/**
 * Calls `operation` at a steady rate without waiting for it, in bursts of about a millisecond.
 *
 * @param {number} count
 * @param {number} perSecond
 * @param {(index: number) => Promise<unknown>} operation
 */
export async function runAtRate(count, perSecond, operation) {
  const pending = []
  const start = performance.now()
  while (pending.length < count) {
    const due = Math.min(count, Math.ceil(((performance.now() - start) / 1000) * perSecond))
    while (pending.length < due) pending.push(operation(pending.length))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(pending)
}
