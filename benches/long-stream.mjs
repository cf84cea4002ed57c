// Runs of up to a million events, written by the store itself, which takes its snapshots on the way.

import { openCoreOnRedis } from './subjects.mjs'
import { makeEvent, runInFlight } from './workload.mjs'

const IN_FLIGHT = 256

/** Written one by one at the end, as a run does that is not being replayed. */
const SLOW_TAIL = 1_500

/**
 * @typedef {object} LongRun
 * @property {string} runId
 * @property {string} stream
 * @property {number} count state events in it, beside the snapshots
 * @property {{ index: number, id: string }} middle the event half-way
 */

/**
 * @param {number} port
 * @param {string} runId
 * @param {number} count
 * @returns {Promise<LongRun>}
 */
export async function fillRun(port, runId, count) {
  const store = await openCoreOnRedis(port)
  const stream = `nq:flow:${runId}`
  const middle = { index: Math.floor(count / 2), id: '' }
  const append = async (i) => {
    const { id } = await store.append(stream, makeEvent(i, runId))
    if (i === middle.index) middle.id = id
  }
  const fast = Math.max(0, count - SLOW_TAIL)
  await runInFlight(fast, IN_FLIGHT, append)
  await runInFlight(count - fast, 1, (i) => append(fast + i))
  await store.close()
  return { runId, stream, count, middle }
}
