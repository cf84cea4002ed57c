// @ts-check
import { reduceRun } from 'nuxt-queue-core'

/**
 * @typedef {import('nuxt-queue-core').EventStore} EventStore
 * @typedef {import('nuxt-queue-core').EventRecord} EventRecord
 */

/**
 * The first event of a run that fits, be it there already or still to come.
 *
 * @param {EventStore} store
 * @param {string} runId
 * @param {(event: EventRecord) => boolean} fits
 * @returns {Promise<EventRecord>}
 */
export async function firstEvent(store, runId, fits) {
  /** @type {(event: EventRecord) => void} */
  let found = () => {}
  /** @type {Promise<EventRecord>} */
  const event = new Promise((resolve) => {
    found = resolve
  })
  const look = (/** @type {EventRecord} */ event) => {
    if (fits(event)) found(event)
  }
  const subscription = await store.subscribe(`nq:flow:${runId}`, look, { after: '0-0' })
  try {
    return await event
  } finally {
    await subscription.unsubscribe()
  }
}

/**
 * Waits until a run has ended.
 *
 * @param {EventStore} store
 * @param {string} runId
 * @throws {Error} if it did not end well
 */
export async function runEnds(store, runId) {
  await firstEvent(store, runId, ({ type }) => /^flow\.(completed|failed|canceled)$/.test(type))
  const events = await store.query({ stream: `nq:flow:${runId}`, types: ['flow.*'] })
  const { status, steps } = reduceRun(events)
  if (status === 'completed') return
  const reason = Object.values(steps).find(({ error }) => error)?.error
  throw new Error(`the run ${runId} is ${status}${reason ? `: ${reason}` : ''}`)
}
