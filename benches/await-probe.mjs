// Opens many awaits, and tells by how much the process has grown and how long it takes to answer one.
//
//   node --expose-gc await-probe.mjs <port, or 0 for memory> <suspended | waiting> <awaits>

import { setTimeout as sleep } from 'node:timers/promises'
import { open } from '../index.js'
import { median } from './statistics.mjs'
import { runInFlight } from './workload.mjs'

const IN_FLIGHT = 64
const SETTLE_MS = 200
const FIRED = 200
const FLOW = 'awaiting'

const [port, kind, count] = process.argv.slice(2)
const awaits = Number(count)
const redis = { host: '127.0.0.1', port: Number(port) }
const core = await open({ eventStore: port === '0' ? { adapter: 'memory' } : { adapter: 'redis', redis } })
core.flows.define({ name: FLOW, entry: { step: 'wait', queue: FLOW }, steps: { wait: { queue: FLOW } } })

const reached = () => {}
const answered = new Map()
const handlers = {
  wait: async ({ name }, ctx) => {
    reached()
    await ctx.flow.await(name)
    answered.get(name)?.(performance.now())
  },
}
// Some thousand at most wait in a worker beside those that work; these all are to wait.
const options =
  kind === 'suspended' ? { concurrency: 100, suspendAfter: 0 } : { concurrency: awaits, suspendAfter: '1h' }
await core.worker(FLOW, handlers, options)

// A few beforehand bring code and buffers to their size.
await openAwaits('warm', 500)
for (let i = 0; i < 500; i++) await answer(`warm-${i}`)
const before = await residentBytes()
await openAwaits('open', awaits)
const grown = (await residentBytes()) - before
const times = []
for (let i = 0; i < FIRED; i++) times.push(await answer(`open-${i * Math.floor(awaits / FIRED)}`))
process.send({ bytes: grown / awaits, ms: median(times) })
process.once('disconnect', () => process.exit())

/** Resolves when the record of each has the await, and the step is suspended if it is to be. */
async function openAwaits(prefix, count) {
  const last = kind === 'suspended' ? 'flow.step.suspended' : 'trigger.awaiting'
  let seen = 0
  let all
  const done = new Promise((resolve) => {
    all = resolve
  })
  const subscription = await core.store.subscribe(`nq:flow:${prefix}-*`, ({ type }) => {
    if (type === last && ++seen === count) all()
  })
  await runInFlight(count, IN_FLIGHT, (i) =>
    core.flows.start(FLOW, { name: `${prefix}-${i}` }, { runId: `${prefix}-${i}` }),
  )
  await done
  await subscription.unsubscribe()
}

/** Milliseconds from the firing to the handler that goes on. */
async function answer(name) {
  const goesOn = new Promise((resolve) => answered.set(name, resolve))
  const start = performance.now()
  await core.triggers.emit(name, { by: 'mae' })
  const end = await goesOn
  answered.delete(name)
  return end - start
}

/** Garbage of JavaScript and what allocators give back late are not the awaits'. */
async function residentBytes() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await sleep(SETTLE_MS)
  }
  return process.memoryUsage.rss()
}
