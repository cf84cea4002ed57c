// Reading again what the store has read before and still holds.

import { checkRecords } from '../check.mjs'
import { encodeAppends, RawWriter } from '../raw-writer.mjs'
import { coreOnRedis, foldedOnRedis, originalOnRedis, originalStateOnRedis } from '../subjects.mjs'
import { makeEvents } from '../workload.mjs'
import { getAll, getKey } from './state-reads.mjs'

/** @param {{ redis: { port: number }, scale: number }} context */
export function cacheBenchmarks({ redis: { port }, scale }) {
  const cached = { name: 'cached state.get, Redis', variants: [originalStateOnRedis(port), coreOnRedis(port)] }
  return [
    getKey({ ...cached, count: 2_000 * scale, inFlight: 1, target: 50 }),
    getKey({ ...cached, count: 10_000 * scale, inFlight: 64, target: 12 }),
    getAll({
      name: 'cached state.getAll, Redis, run of 1,000 state events',
      variants: [originalStateOnRedis(port), foldedOnRedis(port), coreOnRedis(port)],
      runEvents: 1_000,
    }),
    warmQuery({ port, count: 10_000, reads: Math.ceil(2 * scale), target: 5 }),
  ]
}

/** The warm-up rounds are what puts the stream into the cache. */
function warmQuery({ port, count, reads, target }) {
  const name = `warm query, ${count.toLocaleString('en-US')} events as objects`
  const stream = 'nq:flow:warm-query'
  const events = makeEvents(count, 'warm-query')
  return {
    name,
    variants: [originalOnRedis(port), coreOnRedis(port)],
    setUp: async () => {
      const writer = await RawWriter.open(port)
      await writer.write(encodeAppends(stream, events))
      writer.close()
    },
    work: async (subject) => {
      const outcomes = []
      for (let i = 0; i < reads; i++) outcomes.push(await subject.query(stream))
      return outcomes
    },
    check: async (_subject, _prepared, outcomes) => {
      for (const outcome of outcomes) checkRecords(outcome, events)
    },
    metrics: [{ name, unit: 'ms', better: 'lower', value: (ms) => ms / reads, target }],
  }
}
