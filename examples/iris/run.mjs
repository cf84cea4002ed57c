// @ts-check
/**
 * Trains a classifier on Fisher's Iris data as one flow run, then looks at the run from every side:
 * timeline, state half-way, difference between two epochs, final state.
 *
 *     node examples/iris/run.mjs                                     in memory
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/iris/run.mjs    on Redis
 */
import { readFile } from 'node:fs/promises'
import { EventStore, reduceRun } from 'nuxt-queue-core'
import { trainIris } from './flow.mjs'
import { redisLines } from './redis-view.mjs'
import { curveLine, diffLines, keyLine, stateLines, statusLine, summaryLine } from './report.mjs'
import { heading, openTerminal } from './terminal.mjs'
import { timelineLines } from './timeline.mjs'

/** @typedef {import('./flow.mjs').IrisState} IrisState */

const terminal = openTerminal(process.stdout, process.env)
const redisUrl = process.env.REDIS_URL || undefined

async function main() {
  const csv = await readFile(new URL('iris.csv', import.meta.url), 'utf8')
  const store = await EventStore.open(redisUrl ? { adapter: 'redis', redis: { url: redisUrl } } : {})
  try {
    const runId = `iris-${Date.now().toString(36)}`
    const began = performance.now()
    const result = await trainIris(store, runId, csv)
    const milliseconds = performance.now() - began
    await report(store, runId, { ...result, milliseconds })
  } finally {
    await store.close()
  }
}

/**
 * @param {EventStore} store
 * @param {string} runId
 * @param {{ accuracy: number, milliseconds: number }} result
 */
async function report(store, runId, result) {
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
    ...timelineLines(terminal, events, { head: 14, tail: 12 }),
  ])
  const halfway = await reportState(store, runId)
  if (redisUrl) print(await redisLines(terminal, redisUrl, stream, [events[0].id, halfway]))
  print([summaryLine(terminal, { ...result, events: events.length })])
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

/**
 * One line: the code and what happened, without the user and password that a URL may hold.
 *
 * @param {unknown} error
 */
function explain(error) {
  const { code = 'ERROR', message } = /** @type {NodeJS.ErrnoException} */ (error)
  const login = redisUrl?.match(/\/\/(.+)@/)?.[1]
  const shown = login ? message.replaceAll(login, '***') : message
  const text = shown.replace(/\s+/g, ' ')
  console.error(`${terminal.paint('The demo failed', 'red', 'bold')} (${code}): ${text}`)
  process.exitCode = 1
}

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error) => {
  if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EPIPE') process.exit(0)
  throw error
})
main().catch(explain)
