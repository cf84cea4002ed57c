/**
 * What runs do all day: they start, log, set state, are read and end. Most are short; some live long and log a lot.
 * What is read is compared with what was written.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { Journal } from './journal.mjs'

/** @typedef {import('../../index.js').EventStore} EventStore */

const STEPS = ['load', 'train', 'report']
const STEP_MS = 200
const LINES_PER_STEP = 5

/** Runs with state, one after the other in each lane; longer than that and their state events would pile up. */
const LONG_RUN_MS = 60_000
const LONG_LANES = 3
const LONG_TURN_MS = 100

/** Runs as long as the soak, with logs only: state is never trimmed. */
const ENDLESS_RUNS = 2
const LINES_PER_TURN = 10

const INDEX_READ_MS = 2_000

export const INDEX = 'nq:flows:soak'

/**
 * Drives the store until the signal comes, then ends what has begun.
 * @param {EventStore} store
 * @param {number} rate runs started a second
 * @param {Journal} journal
 * @param {AbortSignal} signal
 */
export async function drive(store, rate, journal, signal) {
  const lanes = [startRuns(store, rate, journal, signal), readIndex(store, journal, signal)]
  for (let lane = 0; lane < LONG_LANES; lane++) lanes.push(longRuns(store, lane, journal, signal))
  for (let i = 0; i < ENDLESS_RUNS; i++) {
    lanes.push(journal.guard(longRun(store, `endless-${i}`, Number.POSITIVE_INFINITY, journal, signal)))
  }
  await Promise.all(lanes)
}

/**
 * Starts runs at a steady rate, whether or not those before have ended.
 * @param {EventStore} store
 * @param {number} rate
 * @param {Journal} journal
 * @param {AbortSignal} signal
 */
async function startRuns(store, rate, journal, signal) {
  const under = new Set()
  const begin = Date.now()
  for (let started = 0; !signal.aborted; ) {
    for (; started < ((Date.now() - begin) / 1000) * rate; started++) {
      const run = journal.guard(shortRun(store, started, journal))
      under.add(run)
      run.finally(() => under.delete(run))
    }
    await sleep(20)
  }
  await Promise.all(under)
}

/**
 * @param {EventStore} store
 * @param {number} number
 * @param {Journal} journal
 */
async function shortRun(store, number, journal) {
  const run = journal.begin(store, `run-${number}`)
  await run.append('flow.started', { input: { number } })
  await store.indexAdd(INDEX, run.runId, Date.now())
  for (const [index, stepName] of STEPS.entries()) {
    journal.guard(run.append('flow.step.started', {}, stepName))
    for (let line = 0; line < LINES_PER_STEP; line++) run.log(`${stepName}: line ${line}`, stepName)
    await run.set('step', stepName)
    await run.set('progress', index + 1)
    await sleep(STEP_MS)
    await run.check()
    await run.append('flow.step.completed', { result: index }, stepName)
  }
  await end(run, number)
  await store.query({ stream: run.stream })
}

/**
 * One run in twenty fails, one is canceled, and one is forgotten by its worker: it never ends.
 * @param {import('./journal.mjs').JournalRun} run
 * @param {number} number
 */
async function end(run, number) {
  const kind = number % 20
  if (kind === 0) await run.append('flow.failed', { error: 'as one in twenty does' })
  else if (kind === 1) await run.append('flow.canceled', { reason: 'as one in twenty is' })
  else if (kind !== 2) await run.append('flow.completed', { result: 'done' })
}

/**
 * @param {EventStore} store
 * @param {number} lane
 * @param {Journal} journal
 * @param {AbortSignal} signal
 */
async function longRuns(store, lane, journal, signal) {
  // Not all of them at once, so that at any time some are young and some old.
  await sleep((lane / LONG_LANES) * LONG_RUN_MS, undefined, { signal }).catch(() => {})
  for (let number = 0; !signal.aborted; number++) {
    await journal.guard(longRun(store, `long-${lane}-${number}`, LONG_RUN_MS, journal, signal))
  }
}

/**
 * @param {EventStore} store
 * @param {string} runId
 * @param {number} life milliseconds; endless ones set state at their start only
 * @param {Journal} journal
 * @param {AbortSignal} signal
 */
async function longRun(store, runId, life, journal, signal) {
  const run = journal.begin(store, runId)
  await run.append('flow.started', { input: { life: String(life) } })
  await run.set('born', Date.now())
  const until = Date.now() + life
  for (let turn = 0; Date.now() < until && !signal.aborted; turn++) {
    for (let line = 0; line < LINES_PER_TURN; line++) run.log(`turn ${turn}, line ${line}: ${'.'.repeat(200)}`, 'train')
    if (life < Number.POSITIVE_INFINITY) await run.set(`metric-${turn % 10}`, turn)
    await sleep(LONG_TURN_MS)
    await run.check()
  }
  await run.append('flow.completed', { result: runId })
}

/**
 * What a dashboard does; it is also when members of expired runs leave the index.
 * @param {EventStore} store
 * @param {Journal} journal
 * @param {AbortSignal} signal
 */
async function readIndex(store, journal, signal) {
  while (!signal.aborted) {
    await journal.guard(store.indexRead(INDEX, { limit: 50 }))
    await sleep(INDEX_READ_MS, undefined, { signal }).catch(() => {})
  }
}
