// Reading whole streams that the store has not seen before, as objects and as one JSON text.

import { checkRecords } from '../check.mjs'
import { encodeAppends, RawWriter } from '../raw-writer.mjs'
import { coreOnRedis, originalOnRedis } from '../subjects.mjs'
import { makeEvents } from '../workload.mjs'

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function queryBenchmarks({ redis, scale }) {
  return [
    coldRead(redis, { ...asObjects, count: 1_000, reads: 10 * scale, target: 1.8 }),
    coldRead(redis, { ...asObjects, count: 10_000, reads: Math.ceil(2 * scale), target: 2.5 }),
    coldRead(redis, { ...asText, count: 10_000, reads: Math.ceil(2 * scale), target: 4 }),
  ]
}

const asObjects = {
  form: 'as objects',
  read: (subject, stream) => subject.query(stream),
  parse: (records) => records,
}

const asText = {
  form: 'as JSON text',
  read: (subject, stream) => subject.queryText(stream),
  parse: JSON.parse,
}

function coldRead({ port, inspector }, { form, read, parse, count, reads, target }) {
  const name = `cold query, ${count.toLocaleString('en-US')} events ${form}`
  const events = makeEvents(count, 'query-run')
  const seed = `bench:seed-${count}`
  let copies = 0

  async function unseenStreams() {
    await seedOnce(port, inspector, seed, events)
    const streams = Array.from({ length: reads }, () => `nq:flow:query-${form}-${count}-${copies++}`)
    for (const stream of streams) await inspector.copy(seed, stream)
    return streams
  }

  return {
    name,
    variants: [originalOnRedis(port), coreOnRedis(port)],
    prepare: unseenStreams,
    work: async (subject, streams) => {
      const outcomes = []
      for (const stream of streams) outcomes.push(await read(subject, stream))
      return outcomes
    },
    check: async (_, streams, outcomes) => {
      for (const outcome of outcomes) checkRecords(parse(outcome), events)
      await inspector.unlink(streams)
    },
    metrics: [{ name, unit: 'ms', better: 'lower', value: (ms) => ms / reads, target }],
  }
}

async function seedOnce(port, inspector, seed, events) {
  if (await inspector.exists(seed)) return
  const writer = await RawWriter.open(port)
  await writer.write(encodeAppends(seed, events))
  writer.close()
}
