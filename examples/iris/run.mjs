// @ts-check
/**
 * Trains a classifier on Fisher's Iris data as one run of a flow, approves it, then looks at the run from every side:
 * timeline, state half-way, difference between two epochs, final state.
 *
 *     node examples/iris/run.mjs                                     in memory
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/iris/run.mjs    on Redis
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { open, reduceRun } from 'nuxt-queue-core'
import { APPROVAL, irisFlow, irisSteps, SETTINGS } from './flow.mjs'
import { explainFailure, ignoreClosedOutput } from './process.mjs'
import { redisLines } from './redis-view.mjs'
import { curveLine, diffLines, keyLine, stateLines, statusLine, summaryLine } from './report.mjs'
import { heading, openTerminal } from './terminal.mjs'
import { timelineLines } from './timeline.mjs'
import { firstEvent, runEnds } from './wait.mjs'

/**
 * @typedef {import('nuxt-queue-core').EventStore} EventStore
 * @typedef {import('./flow.mjs').IrisState} IrisState
 */

const terminal = openTerminal(process.stdout, process.env)
const redisUrl = process.env.REDIS_URL || undefined

/** How long the human takes. */
const THINKS_MS = 250

async function main() {
  const core = await open({ eventStore: redisUrl ? { adapter: 'redis', redis: { url: redisUrl } } : {} })
  try {
    core.flows.define(irisFlow)
    await core.worker('ml', irisSteps)
    const began = performance.now()
    const runId = `iris-${Date.now().toString(36)}`
    await core.flows.start(irisFlow.name, SETTINGS, { runId })
    await firstEvent(core.store, runId, ({ type }) => type === 'trigger.awaiting')
    await approve(core, runId)
    await runEnds(core.store, runId)
    await report(core.store, runId, performance.now() - began - THINKS_MS)
  } finally {
    await core.close()
  }
}

/**
 * The human: sees what waits, thinks, answers. In an application this is a page with a button.
 *
 * @param {import('nuxt-queue-core').QueueCore} core
 * @param {string} runId
 */
async function approve({ triggers }, runId) {
  const open = await triggers.awaits(runId)
  await sleep(THINKS_MS)
  for (const { awaitId, triggerName } of open) {
    if (triggerName === APPROVAL) await triggers.resolveAwait(runId, awaitId, { approved: true, by: 'reviewer' })
  }
}

/**
 * @param {EventStore} store
 * @param {string} runId
 * @param {number} milliseconds
 */
async function report(store, runId, milliseconds) {
  const stream = `nq:flow:${runId}`
  const events = await store.query({ stream })
  print([
    heading(terminal, 'Iris, a training run as one timeline'),
    keyLine(terminal, 'stream', stream),
    keyLine(terminal, 'backend', redisUrl ? 'redis' : 'memory'),
    statusLine(terminal, reduceRun(events)),
  ])
  print([
    heading(terminal, 'Timeline', 'store.query({ stream })'),
    ...timelineLines(terminal, events, { head: 13, tail: 22 }),
  ])
  const halfway = await reportState(store, runId)
  if (redisUrl) print(await redisLines(terminal, redisUrl, stream, [events[0].id, halfway]))
  const accuracy = Number(await store.state(runId).get('accuracy'))
  print([summaryLine(terminal, { accuracy, milliseconds, events: events.length })])
}

/**
 * @param {EventStore} store
 * @param {string} runId
 * @returns {Promise<string>} the id of the event that ended the epoch half-way
 */
async function reportState(store, runId) {
  /** @type {import('nuxt-queue-core').RunState<IrisState>} */
  const state = store.state(runId)
  const epochs = await state.history('epoch')
  // Several epochs fit into one millisecond, so points in time are named by event id here, not by a date.
  const early = epochs[4]
  const halfway = epochs[Math.floor(epochs.length / 2) - 1]
  print([
    heading(terminal, 'Training', 'state.history(key)'),
    curveLine(terminal, 'loss', await state.history('loss')),
    curveLine(terminal, 'accuracy', await state.history('accuracy')),
  ])
  print([
    heading(terminal, `State half-way, at epoch ${halfway.value}`, `state.at('${halfway.id}')`),
    ...stateLines(terminal, await state.at(halfway.id)),
  ])
  print([
    heading(terminal, `From epoch ${early.value} to epoch ${halfway.value}`, 'state.diff(a, b)'),
    ...diffLines(terminal, await state.diff(early.id, halfway.id)),
  ])
  print([heading(terminal, 'Final state', 'state.getAll()'), ...stateLines(terminal, await state.getAll())])
  return halfway.id
}

/** @param {string[]} lines */
function print(lines) {
  console.log(`${lines.join('\n')}\n`)
}

ignoreClosedOutput()
main().catch((error) => explainFailure(terminal, error))
