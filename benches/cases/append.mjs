// Appends on memory and on Redis, with a given number of them unsettled at any time.

import { checkAnnounced, checkRecords, checkStored, countAnnouncements } from '../check.mjs'
import { encodeAppends } from '../raw-writer.mjs'
import {
  coreOnMemory,
  coreOnRedis,
  originalOnMemory,
  originalOnRedis,
  pipelinedOnRedis,
  rawOnRedis,
} from '../subjects.mjs'
import { makeEvents, runInFlight } from '../workload.mjs'

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function appendBenchmarks({ redis, scale }) {
  return [
    onMemory({ count: 20_000, inFlight: 1, target: 1.3 }),
    onMemory({ count: 20_000, inFlight: 64, target: 1.3 }),
    onRedis(redis, { count: 2_000 * scale, inFlight: 1, target: 1.5 }),
    onRedis(redis, { count: 10_000 * scale, inFlight: 64, target: 5 }),
    onRedis(redis, { count: 10_000 * scale, inFlight: 256 }),
    serverLimit(redis, { count: 10_000 * scale }),
  ]
}

function onMemory({ count, inFlight, target }) {
  const name = `append, memory, ${amount(inFlight)}`
  return {
    name,
    variants: [originalOnMemory(), coreOnMemory()],
    prepare: async (_, round) => newRun(`memory-${inFlight}`, round, count),
    work: appendAll(inFlight),
    check: async (subject, { stream, events }) => {
      checkRecords(await subject.query(stream), events)
      await subject.deleteStream(stream)
    },
    metrics: [eventsPerSecond(name, count, target)],
  }
}

function onRedis({ port, inspector }, { count, inFlight, target }) {
  const name = `append, Redis, ${amount(inFlight)}`
  return {
    name,
    variants: [originalOnRedis(port), pipelinedOnRedis(port), coreOnRedis(port)],
    prepare: async (_, round) => ({
      ...newRun(`redis-${inFlight}`, round, count),
      announced: await countAnnouncements(inspector),
    }),
    work: appendAll(inFlight),
    check: async (subject, { stream, events, announced }) => {
      await checkStored(inspector, stream, events)
      if (subject.announces !== false) await checkAnnounced(inspector, announced, count)
      await subject.deleteStream(stream)
    },
    metrics: [eventsPerSecond(name, count, target)],
  }
}

/** What the server does alone, for the other rows to be seen against. */
function serverLimit({ port, inspector }, { count }) {
  const name = 'append, Redis, the server by itself'
  return {
    name,
    variants: [rawOnRedis(port)],
    prepare: async (_, round) => {
      const run = newRun('raw', round, count)
      return { ...run, commands: encodeAppends(run.stream, run.events) }
    },
    work: (writer, { commands }) => writer.write(commands),
    check: async (_, { stream, events }) => {
      await checkStored(inspector, stream, events)
      await inspector.unlink(stream)
    },
    metrics: [eventsPerSecond(name, count)],
  }
}

function appendAll(inFlight) {
  return (subject, { stream, events }) => runInFlight(events.length, inFlight, (i) => subject.append(stream, events[i]))
}

function newRun(name, round, count) {
  const runId = `append-${name}-${round}`
  return { stream: `nq:flow:${runId}`, events: makeEvents(count, runId) }
}

function amount(inFlight) {
  return inFlight === 1 ? 'one by one' : `${inFlight} in flight`
}

function eventsPerSecond(name, count, target) {
  return { name, unit: 'events/s', better: 'higher', value: (ms) => (count / ms) * 1000, target }
}
