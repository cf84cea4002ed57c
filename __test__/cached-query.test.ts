/** P3: queries that are answered from memory give what the stream holds, whatever they ask for. */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { EventRecord, EventStore, Query, UntypedRecord } from '../index.js'
import { collect, newStream, onRedis } from './support/backends.js'
import { randomFrom } from './support/random.js'
import { event, log, streamOf } from './support/run-events.js'
import { type Asked, Timeline } from './support/timeline.js'

const SEED = Number(process.env.NQ_QUERY_SEED ?? Date.now() % 1_000_000)
/** How late another store's events may be seen by a cached read, and how exact clocks are, in milliseconds. */
const DELAY = 250
const GRANULARITY = 2

const TYPES = [['state.set'], ['state.*'], ['log.*'], ['log', 'note.added'], ['nothing.*'], ['state.*', 'log.*'], []]

/** Makes queries of a stream, of which some events are known. */
class Asker {
  readonly #random

  constructor(
    readonly stream: string,
    seed: number,
  ) {
    this.#random = randomFrom(seed)
  }

  next(known: string[]): Asked {
    const asked: Asked = {}
    const maybe = (share: number) => this.#random.upTo(100) < share
    const id = () => known[this.#random.upTo(known.length)] ?? '0-0'
    const ms = () => Number.parseInt(id(), 10) + this.#random.upTo(3) - 1
    if (maybe(40)) asked.types = TYPES[this.#random.upTo(TYPES.length)] as string[]
    if (maybe(30)) asked.after = maybe(80) ? id() : maybe(50) ? '0-0' : `${ms()}-7`
    if (maybe(20)) asked.before = maybe(80) ? id() : `${ms()}-7`
    if (maybe(20)) asked.startTime = ms()
    if (maybe(20)) asked.endTime = ms()
    if (maybe(50)) asked.limit = 1 + this.#random.upTo(maybe(50) ? 5 : 2000)
    if (maybe(60)) asked.order = maybe(50) ? 'desc' : 'asc'
    return asked
  }
}

onRedis('queries from memory', (home) => {
  const ways: Array<(store: EventStore, query: Query) => Promise<EventRecord[]>> = [
    (store, query) => store.query(query),
    async (store, query) => JSON.parse(await store.queryText(query)),
    (store, query) => collect<EventRecord>(store.iterate(query)),
  ]

  /** Appends one event of some kind. */
  function append(store: EventStore, run: string, n: number): Promise<EventRecord> {
    const stream = streamOf(run)
    const kinds = [event('state.set', { key: `k${n % 7}`, value: n }), log(`log ${n}`), event('note.added', [n])]
    return store.append(stream, n % 11 === 0 ? event('log', { n }) : (kinds[n % 3] as (typeof kinds)[0]))
  }

  test('give what they give without a cache', async () => {
    const [store, writer] = [await home.open(), await home.open()]
    const cold = await home.open({ cache: { enabled: false } })
    const run = newStream()
    const stream = streamOf(run)
    for (let n = 0; n < 300; n++) await append(n % 2 ? store : writer, run, n)
    const ids = (await store.query({ stream })).map(({ id }) => id)
    expect(ids).toHaveLength(300)
    const asker = new Asker(stream, SEED)
    for (let n = 0; n < 400; n++) {
      const query = { stream, ...asker.next(ids) }
      const of = `seed ${SEED}, query ${n}: ${JSON.stringify(query)}`
      const right = await cold.queryText(query)
      expect(await store.queryText(query), of).toBe(right)
      expect(await (ways[n % 3] as (typeof ways)[0])(store, query), of).toEqual(JSON.parse(right))
    }
  })

  test('give a part of the timeline that is new enough, while events are appended', async () => {
    const [store, writer] = [await home.open({ snapshotEvery: 50 }), await home.open({ snapshotEvery: 50 })]
    const run = newStream()
    const stream = streamOf(run)
    const known: string[] = []
    let lastOwn: string | undefined
    const answers: Array<{
      asked: Asked
      strong: boolean
      own?: string
      start: number
      end: number
      got: EventRecord[]
    }> = []

    const write = async (to: EventStore, first: number, pause: number) => {
      for (let n = first; n < 700; n += 2) {
        const { id } = await append(to, run, n)
        known.push(id)
        if (to === store) lastOwn = id
        await sleep(n % pause)
      }
    }
    let isWriting = true
    const ask = async (seed: number) => {
      const asker = new Asker(stream, seed)
      for (let n = 0; isWriting; n++) {
        const [asked, strong, own] = [n % 20 === 0 ? {} : asker.next(known), n % 3 === 0, lastOwn]
        const start = Date.now()
        const consistency = strong ? 'strong' : 'cached'
        const got = await (ways[n % 3] as (typeof ways)[0])(store, { stream, ...asked, consistency })
        answers.push({ asked, strong, own, start, end: Date.now(), got })
        await sleep(n % 5)
      }
    }
    const asking = [ask(SEED), ask(SEED + 1)]
    await Promise.all([write(store, 0, 7), write(writer, 1, 5)])
    isWriting = false
    await Promise.all(asking)

    const timeline = await Timeline.read(home.server, stream)
    const all: UntypedRecord[] = await writer.query({ stream, consistency: 'strong' })
    const records = new Map<string, string>(all.map((record) => [record.id, JSON.stringify(record)]))
    const faults = answers.filter(({ asked, strong, own, start, end, got }) => {
      const since = timeline.until(start - GRANULARITY - 1 - (strong ? 0 : DELAY))
      const least = Math.max(since, own === undefined ? 0 : timeline.before(own) + 1)
      const ids = got.map(({ id }) => id)
      return !timeline.answering(asked, ids, least, timeline.until(end + GRANULARITY))
    })
    const of = `seed ${SEED}, ${faults.length} of ${answers.length} queries`
    expect(faults.slice(0, 3), of).toEqual([])
    expect(answers.length, of).toBeGreaterThan(100)
    const changed = answers.flatMap(({ got }) =>
      got.filter((record) => JSON.stringify(record) !== records.get(record.id)),
    )
    expect(changed, of).toEqual([])
  })
})
