// Lets many schedules fire, each once a minute, and tells how late their work begins.
//
//   node firing-probe.mjs <croner | memory | port of Redis> <schedules> <seconds>

import { setTimeout as sleep } from 'node:timers/promises'
import { Cron } from 'croner'
import { open } from '../index.js'
import { quantile } from './statistics.mjs'
import { runInFlight } from './workload.mjs'

const IN_FLIGHT = 64
const FLOW = 'tick'

const [where, count, seconds] = process.argv.slice(2)
const expressionOf = (n) => `${n % 60} * * * * *`
const delays = []
let isMeasured = false
const began = (scheduledMs) => {
  if (isMeasured) delays.push(Date.now() - scheduledMs)
}

await (where === 'croner' ? startCroner() : startCore())
// What was due while they were set up is over.
await sleep(2000)
isMeasured = true
await sleep(Number(seconds) * 1000)
isMeasured = false
process.send({ firings: delays.length, p50: quantile(delays, 0.5), p99: quantile(delays, 0.99) })
process.once('disconnect', () => process.exit())

async function startCroner() {
  for (let n = 0; n < Number(count); n++) {
    let next = 0
    const job = new Cron(expressionOf(n), () => {
      began(next)
      next = job.nextRun().getTime()
    })
    next = job.nextRun().getTime()
  }
}

async function startCore() {
  const redis = { host: '127.0.0.1', port: Number(where) }
  const core = await open({ eventStore: where === 'memory' ? { adapter: 'memory' } : { adapter: 'redis', redis } })
  core.flows.define({ name: FLOW, entry: { step: 'tick', queue: FLOW }, steps: {} })
  await core.worker(FLOW, { tick: async ({ scheduledTime }) => began(Date.parse(scheduledTime)) }, { concurrency: 64 })
  await runInFlight(Number(count), IN_FLIGHT, async (n) => {
    await core.triggers.register({ name: `s${n}`, type: 'schedule', schedule: { cron: expressionOf(n) } })
    await core.triggers.subscribe(`s${n}`, FLOW)
  })
}
