// Another process that writes to the same runs at a steady rate, so that what the first has cached goes stale.
//
//   node neighbour.mjs <port> <core | original> <prefix of run ids> <runs> <writes a second>
//
// Messages: 'start', then 'stop', which is answered when everything is written.

import { seededRandom } from '../examples/iris/random.mjs'
import { coreOnRedis, originalStateOnRedis } from './subjects.mjs'
import { stateKey } from './workload.mjs'
import { zipf } from './zipf.mjs'

const BURST_MS = 5

const [port, kind, prefix, runs, perSecond] = process.argv.slice(2)
const variant = kind === 'core' ? coreOnRedis(Number(port)) : originalStateOnRedis(Number(port))
const subject = await variant.open()
const random = seededRandom(1)
const nextRun = zipf(Number(runs), random)
let timer
let pending = []

function start() {
  const begin = performance.now()
  let sent = 0
  timer = setInterval(() => {
    const due = ((performance.now() - begin) / 1000) * Number(perSecond)
    for (; sent < due; sent++) pending.push(write(sent))
  }, BURST_MS)
}

function write(value) {
  return subject.run(`${prefix}${nextRun()}`).set(stateKey(Math.floor(random() * 20)), value)
}

async function stop() {
  clearInterval(timer)
  const writes = pending
  pending = []
  await Promise.all(writes)
  return writes.length
}

process.on('message', async (message) => {
  process.send(message === 'start' ? (start() ?? 'started') : await stop())
})
process.once('disconnect', () => process.exit())
process.send('ready')
