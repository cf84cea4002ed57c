// Reads many runs once, so that they are cached, and tells by how much the process has grown.
//
//   node --expose-gc memory-probe.mjs <port> <prefix of run ids> <runs>

import { setTimeout as sleep } from 'node:timers/promises'
import { openCoreOnRedis } from './subjects.mjs'
import { runInFlight } from './workload.mjs'

const IN_FLIGHT = 64
const SETTLE_MS = 200

const [port, prefix, count] = process.argv.slice(2)
const runs = Number(count)
// More than they take: nothing is to be evicted.
const store = await openCoreOnRedis(Number(port), { cache: { maxBytes: 2 ** 30 } })
const readState = (i) => store.run(`${prefix}${i}`).getAll()
const readEvents = (i) => store.query(`nq:flow:${prefix}${i}`)

// The same work on one run brings the heap and the buffers to their size beforehand.
await runInFlight(runs, IN_FLIGHT, () => readState(0))
await runInFlight(runs, IN_FLIGHT, () => readEvents(0))
const before = await residentBytes()
await runInFlight(runs, IN_FLIGHT, readState)
const afterState = await grown()
// The second time, timelines are kept.
for (let time = 0; time < 2; time++) await runInFlight(runs, IN_FLIGHT, readEvents)
const afterQuery = await grown()
process.send({ afterState, afterQuery })
process.once('disconnect', () => process.exit())

async function grown() {
  return { grown: (await residentBytes()) - before, cachedRuns: store.stats().cachedRuns }
}

/** Garbage of JavaScript and what allocators give back late are not the cache's. */
async function residentBytes() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await sleep(SETTLE_MS)
  }
  return process.memoryUsage.rss()
}
