/**
 * The loop that somebody writes who folds state events by hand.
 *
 * @param {Array<{ type: string, data: any }>} events
 * @param {Record<string, unknown>} [initial] what the events before them made; is changed
 * @returns {Record<string, unknown>}
 */
export function reduceByHand(events, initial = {}) {
  let state = initial
  for (const { type, data } of events) {
    if (type === 'state.set') state[data.key] = data.value
    else if (type === 'state.delete') delete state[data.key]
    else if (type === 'state.batch') applyBatch(state, data.operations)
    else if (type === 'state.snapshot') state = { ...data }
  }
  return state
}

function applyBatch(state, operations) {
  for (const { type, key, value } of operations) {
    if (type === 'set') state[key] = value
    else delete state[key]
  }
}
