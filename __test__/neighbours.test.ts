/** What goes wrong with one append of a tick stays with it; records and subscriptions tell of what was stored. */

import { expect, test } from 'vitest'
import type { NewEvent } from '../index.js'
import { newStream, onEveryBackend } from './support/backends.js'

const event = (type: string, data: unknown = {}) => ({ type, data }) as unknown as NewEvent

onEveryBackend('appends of one tick', (home) => {
  test('a batch with one bad event is refused as a whole, and nothing else is', async () => {
    const store = await home.open()
    const [before, broken, after] = [newStream(), newStream(), newStream()]
    for (const bad of [event('tw\to'), { ...event('two'), stepName: 'a\tb' } as NewEvent, event('two', { n: 1n })]) {
      const outcomes = await Promise.allSettled([
        store.append(before, event('one')),
        store.appendBatch(broken, [event('one'), bad, event('three')]),
        store.append(after, event('one')),
      ])
      expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'NQ_INVALID_EVENT' })
    }
    const stored = await Promise.all([before, broken, after].map((stream) => store.query({ stream })))
    expect(stored.map((events) => events.length)).toEqual([3, 0, 3])
  })

  test('a condition that is no id refuses its batch alone', async () => {
    const store = await home.open()
    const [good, refused] = [newStream(), newStream()]
    const outcomes = await Promise.allSettled([
      store.append(good, event('one')),
      store.appendBatch(refused, [event('one'), event('two')], { expectedLastId: '99999999999999999999-0' }),
    ])
    expect(outcomes[1]).toMatchObject({ status: 'rejected', reason: { code: 'NQ_VALIDATION' } })
    expect(await store.query({ stream: good })).toHaveLength(1)
    expect(await store.query({ stream: refused })).toEqual([])
  })

  test('appends that together are longer than a text can be', async () => {
    const store = await home.open({ limits: { maxEventBytes: 2 ** 26 } })
    const stream = newStream()
    const large = 'x'.repeat(2 ** 25)
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const record = await store.append(stream, event('large', n % 10 === 0 ? large : n))
        return record.id
      }),
    )
    expect(new Set(ids).size).toBe(20)
    const batch = Array.from({ length: 20 }, () => event('large', large))
    await expect(store.appendBatch(stream, batch)).rejects.toMatchObject({ code: 'NQ_TOO_LARGE' })
    expect(await store.query({ stream, limit: 30, order: 'desc', after: ids[18] as string })).toHaveLength(1)
  })
})

onEveryBackend('records and streams', (home) => {
  test('a record is what was appended, whatever becomes of the object', async () => {
    const store = await home.open()
    const reused = event('one') as { type: string; data: unknown }
    const appended = store.append('reuse', reused as NewEvent)
    Object.assign(reused, { type: 'changed', data: 2 })
    expect(await appended).toMatchObject({ type: 'one', data: {} })
    await store.deleteStream('reuse')
  })

  test('a stream that was deleted and begins again is followed from its first event', async () => {
    const store = await home.open()
    const stream = newStream()
    const seen: unknown[] = []
    const subscription = await store.subscribe(stream, (record) => void seen.push(record.data))
    for (let n = 0; n < 20; n++) {
      await store.append(stream, event('one', n))
      await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(n)
      await store.deleteStream(stream)
    }
    await subscription.unsubscribe()
    expect(seen).toEqual(Array.from({ length: 20 }, (_, n) => n))
  })
})
