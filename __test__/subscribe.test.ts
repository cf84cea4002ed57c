/** Subscriptions: handlers that fail or dawdle, the seam between stored and new events, calls from within handlers. */

import { expect, test } from 'vitest'
import type { EventRecord, EventStore, NewEvent } from '../index.js'
import { newStream, onEveryBackend, onRedis } from './support/backends.js'
import { gate, Inbox } from './support/inbox.js'
import { until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

const numbered = (n: number) => ({ type: 'note.added', data: { n } }) as unknown as NewEvent
const numberOf = (event: unknown) => (event as { data: { n: number } }).data.n
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

async function appendNumbers(store: EventStore, stream: string, first: number, last: number): Promise<EventRecord[]> {
  return await Promise.all(range(first, last).map((n) => store.append(stream, numbered(n))))
}

/** The warnings that come while `run` runs, until there are so many. */
async function warningsOf(count: number, run: () => Promise<unknown>): Promise<Error[]> {
  const warnings = new Warnings()
  try {
    await run()
    await until(() => warnings.caught.length >= count, `${count} warnings`)
  } finally {
    warnings.stop()
  }
  return warnings.caught
}

onEveryBackend('a handler that fails', (home) => {
  test('is reported to onError with what it threw and the event, and the subscription goes on', async () => {
    const store = await home.open()
    const stream = newStream()
    const inbox = new Inbox()
    const reported: Array<[unknown, EventRecord]> = []
    const handler = (event: EventRecord) => {
      inbox.handler(event)
      const n = numberOf(event)
      if (n === 1) throw new RangeError('sync')
      if (n === 2) return Promise.reject(new TypeError('async'))
      if (n === 3) throw 'text'
      if (n === 4) throw undefined
    }
    await store.subscribe(stream, handler, { onError: (error, event) => reported.push([error, event]) })
    const stored = await appendNumbers(store, stream, 0, 6)
    expect(await inbox.count(7)).toEqual(stored)
    expect(reported.map(([error]) => error)).toEqual([
      new RangeError('sync'),
      new TypeError('async'),
      'text',
      undefined,
    ])
    expect(reported.map(([, event]) => event)).toEqual(stored.slice(1, 5))
  })

  test('is reported as a warning without onError', async () => {
    const store = await home.open()
    const stream = newStream()
    const inbox = new Inbox()
    await store.subscribe(stream, (event) => {
      inbox.handler(event)
      if (numberOf(event) === 0) throw new RangeError('lost its way')
    })
    const warnings = await warningsOf(1, () => appendNumbers(store, stream, 0, 2))
    expect(warnings.map((warning) => warning.name)).toEqual(['NuxtQueueWarning'])
    expect(warnings[0]?.message).toContain('RangeError: lost its way')
    expect(warnings[0]?.message).toContain(`note.added ${(await inbox.count(3))[0]?.id} of ${stream}`)
    expect(inbox.events.map(numberOf)).toEqual([0, 1, 2])
  })

  test('callbacks that fail are reported as warnings, too', async () => {
    const store = await home.open()
    const stream = newStream()
    const inbox = new Inbox()
    const fail = (what: string) => {
      throw new Error(what)
    }
    const warnings = await warningsOf(3, async () => {
      const handler = (event: EventRecord) => {
        inbox.handler(event)
        if (numberOf(event) < 2) fail('handler')
      }
      const options = { onError: () => fail('in onError'), onCaughtUp: () => fail('in onCaughtUp') }
      await store.subscribe(stream, handler, options)
      await appendNumbers(store, stream, 0, 2)
      await inbox.count(3)
    })
    const messages = warnings.map((warning) => warning.message).join('\n')
    expect(messages.match(/in onError/g)?.length).toBeGreaterThanOrEqual(2)
    expect(messages).toContain('in onCaughtUp')
  })
})

onEveryBackend('a handler that takes its time', (home) => {
  test('slows no other subscription, and misses nothing itself', async () => {
    const store = await home.open()
    const stream = newStream()
    const [slow, quick, far] = [new Inbox(), await Inbox.of(store, stream), await Inbox.of(store, `${stream}*`)]
    const release = gate()
    await store.subscribe(stream, async (event) => {
      slow.handler(event)
      await release.opened
    })
    const stored = await appendNumbers(store, stream, 0, 999)
    expect(await quick.count(1000)).toEqual(stored)
    expect(await far.count(1000)).toEqual(stored)
    expect(await store.query({ stream })).toEqual(stored)
    expect(slow.events.length).toBeLessThanOrEqual(1)
    release.open()
    expect(await slow.count(1000)).toEqual(stored)
  })

  test('is called for one event at a time', async () => {
    const store = await home.open()
    const stream = newStream()
    const inbox = new Inbox()
    let running = 0
    let most = 0
    await store.subscribe(stream, async (event) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      inbox.handler(event)
    })
    await appendNumbers(store, stream, 0, 299)
    expect((await inbox.count(300)).map(numberOf)).toEqual(range(0, 299))
    expect(most).toBe(1)
  })
})

onEveryBackend('calls from within a handler', (home) => {
  test('append, query and state work there', async () => {
    const store = await home.open()
    const stream = newStream()
    const inbox = new Inbox()
    await store.subscribe(stream, async (event) => {
      const n = numberOf(event)
      if (n < 50) await store.append(stream, numbered(n + 1))
      expect((await store.query({ stream, after: event.id })).length).toBe(n < 50 ? 1 : 0)
      await store.state(stream).set('n', n)
      inbox.handler(event)
    })
    await store.append(stream, numbered(0))
    expect((await inbox.count(51)).map(numberOf)).toEqual(range(0, 50))
    expect(await store.state(stream).get('n')).toBe(50)
  })

  test('unsubscribe ends the subscription after this event', async () => {
    const store = await home.open()
    const stream = newStream()
    await appendNumbers(store, stream, 0, 99)
    const seen: number[] = []
    const ended = gate()
    const subscription = await store.subscribe(
      stream,
      async (event) => {
        if (seen.push(numberOf(event)) < 10) return
        await subscription.unsubscribe()
        ended.open()
      },
      { after: '0-0' },
    )
    await ended.opened
    const witness = await Inbox.of(store, stream)
    await appendNumbers(store, stream, 100, 199)
    await witness.count(100)
    expect(seen).toEqual(range(0, 9))
  })

  test('subscribe there', async () => {
    const store = await home.open()
    const stream = newStream()
    const inner = new Inbox()
    await store.subscribe(stream, async (event) => {
      if (numberOf(event) === 0) await store.subscribe(stream, inner.handler, { after: '0-0' })
    })
    await appendNumbers(store, stream, 0, 9)
    expect((await inner.count(10)).map(numberOf)).toEqual(range(0, 9))
  })

  test('close there', async () => {
    const store = await home.open()
    const stream = newStream()
    const closed = gate()
    const seen: number[] = []
    await store.subscribe(stream, async (event) => {
      seen.push(numberOf(event))
      await store.close()
      closed.open()
    })
    await appendNumbers(store, stream, 0, 9)
    await closed.opened
    expect(seen).toEqual([0])
  })
})

onEveryBackend('the seam between stored and new events', (home) => {
  test('subscriptions that begin one after the other while events come miss none and double none', async () => {
    const store = await home.open()
    const stream = newStream()
    const inboxes: Inbox[] = []
    let caughtUp = 0
    for (let round = 0; round < 20; round++) {
      const appends = appendNumbers(store, stream, round * 50, round * 50 + 49)
      const target = round % 2 ? stream : `${stream}*`
      inboxes.push(await Inbox.of(store, target, { after: '0-0', onCaughtUp: () => caughtUp++ }))
      await appends
    }
    const stored = (await store.query({ stream })).map((event) => event.id)
    expect(stored).toHaveLength(1000)
    for (const inbox of inboxes) expect(await inbox.idsUntil(stored.at(-1) as string)).toEqual(stored)
    await until(() => caughtUp >= 20, 'all to have caught up')
    expect(caughtUp).toBe(20)
  })

  test('a subscription that goes on where another one ended', async () => {
    const store = await home.open()
    const stream = newStream()
    const appends = appendNumbers(store, stream, 0, 999)
    const seen: string[] = []
    while (seen.length < 1000) {
      const part = gate()
      const taken: string[] = []
      const subscription = await store.subscribe(
        stream,
        (event) => {
          if (taken.length >= 130) return
          taken.push(event.id)
          if (taken.length === 130 || numberOf(event) === 999) part.open()
        },
        { after: seen.at(-1) ?? '0-0' },
      )
      await part.opened
      await subscription.unsubscribe()
      seen.push(...taken)
    }
    expect(seen).toEqual((await appends).map((event) => event.id))
  })
})

onRedis('the seam between stored and new events', (home) => {
  test('two stores write, others begin to follow: no gap, no double, in order', async () => {
    const writers = [await home.open(), await home.open()] as const
    const readers = [writers[0], await home.open(), await home.open()]
    const stream = newStream()
    const inboxes: Inbox[] = []
    const write = async (writer: EventStore, first: number) => {
      for (let n = 0; n < 1500; n += 10) await appendNumbers(writer, stream, first + n, first + n + 9)
    }
    const written = Promise.all([write(writers[0], 0), write(writers[1], 10_000)])
    for (let round = 0; round < 18; round++) {
      const reader = readers[round % 3] as EventStore
      inboxes.push(await Inbox.of(reader, round % 2 ? stream : `${stream}*`, { after: '0-0' }))
    }
    await written
    const stored = await writers[0].query({ stream })
    expect(stored).toHaveLength(3000)
    for (const inbox of inboxes) {
      await inbox.idsUntil(stored.at(-1)?.id as string)
      expect(inbox.events).toEqual(stored)
    }
  })
})
