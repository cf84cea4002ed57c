/** What must stay bounded, measured every few seconds: on the server by a plain client, and in this process. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** @typedef {import('ioredis').Redis} Redis */

setFlagsFromString('--expose-gc')
/** @type {() => void} */
const collectGarbage = runInNewContext('gc')

/**
 * @typedef {object} Sample
 * @property {number} at seconds since the beginning
 * @property {number} keys of the server
 * @property {number} redisBytes memory that the server uses
 * @property {number} rss memory of this process, after a garbage collection
 * @property {number} cachedBytes as the store counts them
 * @property {number} events in all streams
 * @property {number} members of the index of runs
 */

/** @typedef {Exclude<keyof Sample, 'at'>} Measure */

const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`
const kilobytes = (/** @type {number} */ bytes) => `${Math.round(bytes / 1e3).toLocaleString('en-US')} kB`
const whole = (/** @type {number} */ count) => count.toLocaleString('en-US')

/** @type {Array<{ measure: Measure, name: string, show: (value: number) => string }>} */
export const MEASURES = [
  { measure: 'keys', name: 'Redis keys', show: whole },
  { measure: 'redisBytes', name: 'Redis memory', show: megabytes },
  { measure: 'rss', name: 'process RSS', show: megabytes },
  { measure: 'cachedBytes', name: 'cached', show: kilobytes },
  { measure: 'events', name: 'events kept', show: whole },
  { measure: 'members', name: 'index members', show: whole },
]

/**
 * @param {Redis} redis
 * @param {import('../../index.js').EventStore} store
 * @param {string} index
 * @param {number} at
 * @returns {Promise<Sample>}
 */
export async function takeSample(redis, store, index, at) {
  const [keys, info, events, members] = await Promise.all([
    redis.dbsize(),
    redis.info('memory'),
    countEvents(redis),
    redis.zcard(index),
  ])
  collectGarbage()
  return {
    at,
    keys,
    redisBytes: Number(/^used_memory:(\d+)/m.exec(info)?.[1]),
    rss: process.memoryUsage.rss(),
    cachedBytes: store.stats().cachedBytes,
    events,
    members,
  }
}

/** @param {Redis} redis */
async function countEvents(redis) {
  let events = 0
  for await (const keys of redis.scanStream({ type: 'stream', count: 1_000 })) {
    const lengths = await Promise.all(keys.map((/** @type {string} */ key) => redis.xlen(key)))
    for (const length of lengths) events += length
  }
  return events
}
