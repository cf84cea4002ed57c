/** Reading event by event: in bounded memory, left early, failed in the middle, several at once. */

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { EventStore, NewEvent } from '../index.js'
import { collect, newStream, onEveryBackend, onRedis } from './support/backends.js'
import { runFile } from './support/child.js'
import { failure } from './support/failure.js'

const MEGABYTE = 2 ** 20

const numbered = (n: number) => ({ type: 'note.added', data: { n } }) as unknown as NewEvent
const numberOf = (record: unknown) => (record as { data: { n: number } }).data.n
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

async function fill(store: EventStore, stream: string, count: number): Promise<void> {
  await Promise.all(range(0, count - 1).map((n) => store.append(stream, numbered(n))))
}

onRedis('a large stream', (home) => {
  test('50,000 events of 2 KB are read in a fraction of the memory they have', async () => {
    const store = await home.open({ limits: { appendTimeoutMs: 60_000 } })
    const stream = newStream()
    const text = 'x'.repeat(2000)
    const batches = range(0, 49).map((batch) => {
      const events = range(batch * 1000, batch * 1000 + 999).map((n) => ({ type: 'note.added', data: { n, text } }))
      return store.appendBatch(stream, events as unknown as NewEvent[])
    })
    await Promise.all(batches)

    const program = fileURLToPath(new URL('./support/iterate-many.mjs', import.meta.url))
    const node = ['--expose-gc', '--max-old-space-size=64']
    const ended = await runFile([program, home.server.url, stream], { node, timeoutMs: 60_000 })
    expect({ code: ended.code, stderr: ended.stderr }).toEqual({ code: 0, stderr: '' })
    const { count, bytes, peak } = JSON.parse(ended.stdout)
    expect({ count, bytes }).toEqual({ count: 50_000, bytes: 100_000_000 })
    expect(peak.heapUsed).toBeLessThan(16 * MEGABYTE)
    expect(peak.rss).toBeLessThan(96 * MEGABYTE)
  })
})

onEveryBackend('iterating', (home) => {
  test('leaving the loop early ends the read, and the store goes on', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 1000)
    const seen: number[] = []
    const events = store.iterate({ stream })
    for await (const event of events) {
      if (seen.push(numberOf(event)) === 3) break
    }
    expect(seen).toEqual([0, 1, 2])
    expect(await collect(events)).toEqual([])
    expect(await store.query({ stream, limit: 1 })).toHaveLength(1)
  })

  test('an error in the loop comes out unchanged, and the store goes on', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 1000)
    const thrown = new RangeError('enough')
    const loop = async () => {
      for await (const event of store.iterate({ pattern: stream })) if (numberOf(event) === 700) throw thrown
    }
    await expect(loop()).rejects.toBe(thrown)
    expect(await collect(store.iterate({ stream }))).toHaveLength(1000)
  })

  test('a returned iterator reads nothing any more', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 10)
    const iterator = store.iterate({ stream })[Symbol.asyncIterator]()
    expect(numberOf((await iterator.next()).value)).toBe(0)
    await iterator.return?.()
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  test('an iterator that is asked several times at once answers in order', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 600)
    const iterator = store.iterate({ stream })[Symbol.asyncIterator]()
    const answers = await Promise.all(range(0, 600).map(() => iterator.next()))
    expect(answers.slice(0, 600).map(({ value }) => numberOf(value))).toEqual(range(0, 599))
    expect(answers[600]).toEqual({ done: true, value: undefined })
  })

  test('twenty iterators at once are all complete', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 1200)
    const queries = range(0, 19).map((n) => (n % 2 ? { stream } : { pattern: stream, filter: () => true }))
    const all = await Promise.all(queries.map((query) => collect(store.iterate(query))))
    for (const events of all) expect(events.map(numberOf)).toEqual(range(0, 1199))
  })

  test('two iterators in turn, each in its own order', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 700)
    const up = store.iterate({ stream })[Symbol.asyncIterator]()
    const down = store.iterate({ stream, order: 'desc' })[Symbol.asyncIterator]()
    for (const n of range(0, 699)) {
      expect(numberOf((await up.next()).value)).toBe(n)
      expect(numberOf((await down.next()).value)).toBe(699 - n)
    }
    expect([(await up.next()).done, (await down.next()).done]).toEqual([true, true])
  })

  test('a filter is asked only until the limit is full', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 2000)
    const asked: number[] = []
    const filter = (event: unknown) => {
      asked.push(numberOf(event))
      return numberOf(event) % 100 === 99
    }
    const events = await collect(store.iterate({ pattern: stream, filter, limit: 12 }))
    expect(events.map(numberOf)).toEqual(range(0, 11).map((n) => n * 100 + 99))
    expect(asked).toEqual(range(0, 1199))
  })

  test('a filter that passes nothing ends at the end', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 2000)
    expect(await collect(store.iterate({ pattern: stream, filter: () => false, limit: 1 }))).toEqual([])
  })

  test('types, bounds, filter and limit together over many streams', async () => {
    const store = await home.open()
    const family = newStream()
    const streams = range(0, 9).map((n) => `${family}:${n}`)
    for (const stream of streams) {
      await store.appendBatch(stream, range(0, 99).map(numbered))
      await store.append(stream, { type: 'log.info', data: { level: 'info', message: 'm' } })
    }
    const query = { pattern: `${family}:*`, types: ['note.*'], filter: (event: unknown) => numberOf(event) >= 90 }
    const all = await collect(store.iterate(query))
    expect(all).toHaveLength(100)
    for (const stream of streams) {
      expect(all.filter((event) => event.stream === stream).map(numberOf)).toEqual(range(90, 99))
    }
    const some = await collect(store.iterate({ ...query, limit: 37 }))
    expect(some).toEqual(all.slice(0, 37))
  })

  test('events that are appended meanwhile harm nothing', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 1000)
    const seen: number[] = []
    for await (const event of store.iterate({ stream, limit: 3000 })) {
      seen.push(numberOf(event))
      if (seen.length <= 1000) void store.append(stream, numbered(999 + seen.length))
    }
    expect(seen).toEqual(range(0, seen.length - 1))
    expect(seen.length).toBeGreaterThanOrEqual(1000)
  })

  test('a stream that is deleted meanwhile ends the loop', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 5000)
    let count = 0
    for await (const event of store.iterate({ stream })) {
      expect(numberOf(event)).toBe(count)
      if (++count === 1) await store.deleteStream(stream)
    }
    expect(count).toBeLessThan(5000)
  })

  test('a store that is closed meanwhile fails the loop', async () => {
    const store = await home.open()
    const stream = newStream()
    await fill(store, stream, 5000)
    const error = await failure(async () => {
      for await (const _event of store.iterate({ stream })) await store.close()
    })
    expect(error.code).toBe('NQ_CLOSED')
  })
})
