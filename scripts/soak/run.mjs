/** The soak itself; started by `scripts/soak.mjs`, which builds what is missing. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { EventStore } from '../../index.js'
import { RedisServer } from '../lib/redis-server.mjs'
import { bold, dim, runScript, say } from '../lib/terminal.mjs'
import { MEASURES, takeSample } from './gauge.mjs'
import { Journal } from './journal.mjs'
import { drive, INDEX } from './load.mjs'
import { readOptions, USAGE } from './options.mjs'
import { conclude, judgeFailures, judgeSamples } from './verdict.mjs'

/** Days become seconds, so that minutes show what months would. */
const LIVES = { active: 20, completed: 5, failed: 10 }
const STORE = {
  cache: { maxBytes: 8 * 1024 * 1024, ttl: LIVES },
  retention: { ...LIVES, logs: { maxAge: 10, maxBytes: 64 * 1024 } },
  snapshotEvery: 100,
}

/** @typedef {import('./options.mjs').SoakOptions} SoakOptions */

async function main() {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return say(USAGE)
  const server = await RedisServer.start()
  const redis = new Redis(server.url)
  const store = await EventStore.open({ adapter: 'redis', redis: { url: server.url }, ...STORE })
  const journal = new Journal()
  const samples = await soak(store, redis, journal, options)
  const isBounded = judgeSamples(
    samples.filter(({ at }) => at >= options.warmUp),
    options.tolerance,
  )
  say(summary(store, journal))
  const isSound = judgeFailures(journal)
  await store.close()
  redis.disconnect()
  await server.stop()
  return conclude(isBounded && isSound)
}

/**
 * @param {EventStore} store
 * @param {Redis} redis
 * @param {Journal} journal
 * @param {SoakOptions} options
 */
async function soak(store, redis, journal, { seconds, warmUp, every, rate }) {
  const end = new AbortController()
  const load = drive(store, rate, journal, end.signal)
  const begin = Date.now()
  const samples = []
  say(bold(`Soak for ${clock(seconds)}, of which ${clock(warmUp)} to warm up`))
  say(dim(line(['time', 'written', ...MEASURES.map(({ name }) => name)])))
  for (let due = every; due <= seconds; due += every) {
    await sleep(Math.max(0, begin + due * 1000 - Date.now()))
    const sample = await takeSample(redis, store, INDEX, due)
    samples.push(sample)
    const cells = MEASURES.map(({ measure, show }) => show(sample[measure]))
    const text = line([clock(due), journal.written.toLocaleString('en-US'), ...cells])
    say(due < warmUp ? dim(text) : text)
  }
  end.abort()
  await load
  return samples
}

/**
 * @param {EventStore} store
 * @param {Journal} journal
 */
function summary(store, { written, runs, checks }) {
  const { hits, misses, ...others } = store.stats()
  const hitRate = (100 * hits) / (hits + misses)
  return [
    `${written} events of ${runs} runs written, ${checks} states compared, hit rate ${hitRate.toFixed(1)} %`,
    dim(JSON.stringify({ hits, misses, ...others })),
  ].join('\n')
}

/** @param {string[]} cells */
const line = (cells) => cells.map((cell) => cell.padStart(13)).join(' ')

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1)) // the server ends with it

await runScript(main)
