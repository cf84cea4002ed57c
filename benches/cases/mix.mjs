// What the cache is worth when it is not asked for the same run again and again: reads and writes over
// many runs, few of them popular, while another process writes to them, too.

import { seededRandom } from '../../examples/iris/random.mjs'
import { seedStates } from '../baseline/redis-state.mjs'
import { startChild } from '../child.mjs'
import { copyStream, unlinkAll } from '../copies.mjs'
import { coreOnRedis, originalStateOnRedis } from '../subjects.mjs'
import { expectedState, makeEvents, runInFlight, stateKey } from '../workload.mjs'
import { zipf } from '../zipf.mjs'

const RUNS = 10_000
const KEYS = 20
const WRITE_SHARE = 0.05
const IN_FLIGHT = 64
const NEIGHBOUR_RATE = 1_000
const PREFIX = 'mix-'
const CHECKED_RUNS = 20
const FRESH_LIMIT_MS = 5_000

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function mixBenchmarks({ redis: { port, inspector }, scale }) {
  const count = 50_000 * scale
  const name = '95 % state.get, 5 % set over 10,000 runs'
  const runIds = Array.from({ length: RUNS }, (_, i) => `${PREFIX}${i}`)
  const metrics = [
    { name, unit: 'calls/s', better: 'higher', value: (ms) => (count / ms) * 1000 },
    {
      name: `${name}, hit rate`,
      unit: '%',
      better: 'higher',
      value: (_, { hitRate }) => hitRate * 100,
      coreOnly: true,
    },
  ]
  return [
    {
      name,
      variants: [originalStateOnRedis(port), coreOnRedis(port)].map((variant) => withNeighbour(variant, port, runIds)),
      setUp: async () => {
        await seedStates(inspector, runIds, expectedState(KEYS))
        await copyStream(
          { port, inspector },
          makeEvents(KEYS, 'mix'),
          runIds.map((runId) => `nq:flow:${runId}`),
        )
      },
      prepare: async ({ neighbour }, round) => {
        const calls = drawCalls(count, round + 1_000)
        await neighbour.ask('start')
        return calls
      },
      work: callAll,
      check: checkFresh,
      metrics,
      tearDown: () => unlinkAll(inspector, `nq:flow:${PREFIX}*`),
    },
  ]
}

/** `other` has a connection, and a cache, of its own: what it reads first is what is stored. */
function withNeighbour(variant, port, runIds) {
  async function open() {
    const kind = variant.core ? 'core' : 'original'
    const neighbour = await startChild('neighbour.mjs', [port, kind, PREFIX, RUNS, NEIGHBOUR_RATE])
    const subject = await variant.open()
    return {
      neighbour,
      variant,
      runs: runIds.map((runId) => subject.run(runId)),
      stats: () => subject.stats?.() ?? { hits: 0, misses: 0 },
      close: () => Promise.all([neighbour.end(), subject.close()]),
    }
  }
  return { ...variant, open }
}

/** The same calls for every variant of a round. */
function drawCalls(count, seed) {
  const random = seededRandom(seed)
  const nextRun = zipf(RUNS, random)
  return Array.from({ length: count }, () => ({
    run: nextRun(),
    key: stateKey(Math.floor(random() * KEYS)),
    isWrite: random() < WRITE_SHARE,
  }))
}

async function callAll({ runs, stats }, calls) {
  const before = stats()
  const values = new Array(calls.length)
  await runInFlight(calls.length, IN_FLIGHT, async (i) => {
    const { run, key, isWrite } = calls[i]
    if (isWrite) await runs[run].set(key, i)
    values[i] = isWrite ? i : await runs[run].get(key)
  })
  return { values, hitRate: hitRate(before, stats()) }
}

function hitRate(before, after) {
  const [hits, misses] = ['hits', 'misses'].map((name) => after[name] - before[name])
  return hits / (hits + misses)
}

/** Every call must have found a value; and when the neighbour has stopped, the cache must come to what is stored. */
async function checkFresh({ neighbour, variant, runs }, _calls, { values }) {
  const written = await neighbour.ask('stop')
  if (written === 0) throw new Error('the other process wrote nothing')
  const odd = values.findIndex((value) => typeof value !== 'number')
  if (odd !== -1) throw new Error(`call ${odd} gave ${values[odd]}`)
  const other = await variant.open()
  for (let i = 0; i < CHECKED_RUNS; i++) await checkRun(runs[i], other.run(`${PREFIX}${i}`), i)
  await other.close()
}

async function checkRun(run, stored, index) {
  const deadline = Date.now() + FRESH_LIMIT_MS
  for (let i = 0; i < KEYS; i++) {
    const expected = await stored.get(stateKey(i))
    while ((await run.get(stateKey(i))) !== expected) {
      if (Date.now() > deadline) throw new Error(`${stateKey(i)} of run ${index} stays stale; stored is ${expected}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
