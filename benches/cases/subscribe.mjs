// Delivery to a subscriber on Redis: how many events a second, and how late at a steady rate.

import { checkDelivered, checkStored, SNAPSHOT } from '../check.mjs'
import { encodeAppends, RawWriter } from '../raw-writer.mjs'
import { quantile } from '../statistics.mjs'
import { coreOnRedis, originalOnRedis } from '../subjects.mjs'
import { makeEvents, runAtRate, runInFlight } from '../workload.mjs'

const RATE = 10_000

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function subscribeBenchmarks({ redis, scale }) {
  const count = 10_000 * scale
  return [ownWriter(redis, count), fastWriter(redis, count), steadyRate(redis, count)]
}

/** Writer and reader of the same kind, on connections of their own. */
function ownWriter(redis, count) {
  const name = 'delivery, own writer (64 in flight)'
  return delivery(redis, {
    name,
    count,
    write: ({ writer }, { stream, events }) => runInFlight(count, 64, (i) => writer.append(stream, events[i])),
    metrics: [eventsPerSecond(name, count)],
  })
}

/** The same writer for all, faster than any reader: the reader alone is measured. */
function fastWriter(redis, count) {
  const name = 'delivery, raw writer (one burst)'
  return delivery(redis, {
    name,
    count,
    write: ({ raw }, { commands }) => raw.write(commands),
    metrics: [eventsPerSecond(name, count)],
  })
}

/** Appends at a fixed rate, not awaited; the delay runs from the call of append to the handler. */
function steadyRate(redis, count) {
  const name = `delivery delay at ${RATE.toLocaleString('en-US')} events/s`
  return delivery(redis, {
    name,
    count,
    write: ({ writer }, { stream, events, sentAt }) =>
      runAtRate(count, RATE, (i) => {
        sentAt[i] = performance.now()
        return writer.append(stream, events[i])
      }),
    metrics: [delay(`${name}, p50`, 0.5), { ...delay(`${name}, p99`, 0.99), below: 5 }],
  })
}

function delivery({ port, inspector }, { name, count, write, metrics }) {
  let runs = 0
  return {
    name,
    variants: [originalOnRedis(port), coreOnRedis(port)].map((variant) => withWriters(variant, port)),
    prepare: (subject) => listen(subject, count, `${metrics[0].name}-${runs++}`),
    work: async (subject, prepared) => {
      await write(subject, prepared)
      await prepared.delivered
      return prepared
    },
    check: async ({ writer }, { stream, events, values, unsubscribe }) => {
      await unsubscribe()
      checkDelivered(values, count)
      await checkStored(inspector, stream, events)
      await writer.deleteStream(stream)
    },
    metrics,
  }
}

function withWriters(variant, port) {
  async function open() {
    const [reader, writer, raw] = await Promise.all([variant.open(), variant.open(), RawWriter.open(port)])
    return { reader, writer, raw, close: () => Promise.all([reader.close(), writer.close(), raw.close()]) }
  }
  return { ...variant, open }
}

/** Subscribes to a new stream and notes what comes, and when. */
async function listen({ reader }, count, name) {
  const runId = name.replace(/\W+/g, '-')
  const stream = `nq:flow:${runId}`
  const events = makeEvents(count, runId)
  const seenAt = new Array(count)
  const values = []
  let allSeen
  const delivered = new Promise((resolve) => {
    allSeen = resolve
  })
  const unsubscribe = await reader.subscribe(stream, ({ type, data }) => {
    if (type === SNAPSHOT) return
    seenAt[data.value] = performance.now()
    if (values.push(data.value) === count) allSeen()
  })
  return {
    stream,
    events,
    commands: encodeAppends(stream, events),
    values,
    sentAt: new Array(count),
    seenAt,
    delivered,
    unsubscribe,
  }
}

function eventsPerSecond(name, count) {
  return { name, unit: 'events/s', better: 'higher', value: (ms) => (count / ms) * 1000, target: 5 }
}

function delay(name, share) {
  const value = (_, { sentAt, seenAt }) =>
    quantile(
      seenAt.map((at, i) => at - sentAt[i]),
      share,
    )
  return { name, unit: 'ms', better: 'lower', value }
}
