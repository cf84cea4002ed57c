// @ts-check
/**
 * The same flow, and a process that dies: while the run waits for its approval, the process that works on it is killed
 * with SIGKILL. Another takes its place, the approval comes, and the run goes on where it was.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/iris/crash.mjs
 *
 * `npm run demo -- --crash` starts a Redis server for it if none is named.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { open, reduceRun } from 'nuxt-queue-core'
import { APPROVAL } from './flow.mjs'
import { explainFailure, ignoreClosedOutput } from './process.mjs'
import { keyLine, stateLines, statusLine } from './report.mjs'
import { heading, openTerminal } from './terminal.mjs'
import { timelineLines } from './timeline.mjs'
import { firstEvent, runEnds } from './wait.mjs'

const terminal = openTerminal(process.stdout, process.env)

async function main() {
  const url = process.env.REDIS_URL
  if (!url)
    throw new Error('a process that dies takes its memory with it: set REDIS_URL, or use npm run demo -- --crash')
  // Only looks and approves: it has no worker.
  const core = await open({ eventStore: { adapter: 'redis', redis: { url } } })
  try {
    await crash(core, `iris-${Date.now().toString(36)}`)
  } finally {
    await core.close()
  }
}

/**
 * @param {import('nuxt-queue-core').QueueCore} core
 * @param {string} runId
 */
async function crash({ store, triggers }, runId) {
  print([heading(terminal, 'Iris, and a process that dies'), keyLine(terminal, 'stream', `nq:flow:${runId}`)])
  const first = startWorker('A', runId)
  await firstEvent(store, runId, ({ type }) => type === 'trigger.awaiting')
  const [waiting] = await triggers.awaits(runId)
  tell('run', `trains, then waits for ${waiting.triggerName}, until ${waiting.deadline}`)

  first.kill('SIGKILL')
  await once(first, 'exit')
  tell('process A', 'killed with SIGKILL', 'red')

  const second = startWorker('B', runId)
  await once(second, 'message')
  await triggers.resolveAwait(runId, waiting.awaitId, { approved: true, by: 'reviewer' })
  const approvedAt = performance.now()
  tell('reviewer', `gives ${APPROVAL}`, 'green')
  await runEnds(store, runId)
  tell('run', `is complete ${((performance.now() - approvedAt) / 1000).toFixed(1)} s later\n`)
  second.kill('SIGTERM')
  await once(second, 'exit')

  const events = await store.query({ stream: `nq:flow:${runId}` })
  print([
    heading(terminal, 'Timeline', 'store.query({ stream })'),
    ...timelineLines(terminal, events, { head: 7, tail: 21, who: writer }),
    '',
    heading(terminal, 'Final state', 'state.getAll()'),
    statusLine(terminal, reduceRun(events)),
    ...stateLines(terminal, await store.state(runId).getAll()),
  ])
}

/**
 * A or B, for what a step writes. What the engine makes of it, and the approval, stand for no process.
 *
 * @param {import('nuxt-queue-core').EventRecord} event
 */
function writer({ instanceId = '' }) {
  return instanceId.replace(/^process-/, '')
}

/**
 * @param {string} name
 * @param {string} runId
 */
function startWorker(name, runId) {
  const program = fileURLToPath(new URL('crash-worker.mjs', import.meta.url))
  const child = spawn(process.execPath, [program, name, runId], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  tell(`process ${name}`, `started as ${child.pid}`)
  // None outlives the demo, whatever happens to it.
  process.on('exit', () => child.kill('SIGKILL'))
  return child
}

/**
 * @param {string} who
 * @param {string} what
 * @param {import('./terminal.mjs').Style} [style]
 */
function tell(who, what, style) {
  print([`  ${terminal.paint(who.padEnd(10), 'bold')}  ${style ? terminal.paint(what, style) : what}`])
}

/** @param {string[]} lines */
function print(lines) {
  console.log(lines.join('\n'))
}

ignoreClosedOutput()
main().catch((error) => explainFailure(terminal, error))
