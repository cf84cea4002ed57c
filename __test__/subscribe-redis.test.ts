/**
 * Subscriptions on Redis: over lost connections, and together with the original's instances on the same server
 * (P10: streams written by the original are read, and ours are read by it).
 */

import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { EventStore, NewEvent } from '../index.js'
import { newStream, onRedis } from './support/backends.js'
import { runCode } from './support/child.js'
import { Inbox } from './support/inbox.js'
import { command, type RedisServer, until } from './support/redis.js'

const numbered = (n: number) => ({ type: 'note.added', data: { n } }) as unknown as NewEvent

/** Writes 3,000 events, one after the other and several at a time, and cuts connections meanwhile. */
async function writeThroughCuts(store: EventStore, stream: string, cut: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < 3000; n += 30) {
    const appends = Array.from({ length: 30 }, (_, k) => store.append(stream, numbered(n + k)))
    await Promise.all(n % 300 === 150 ? [...appends, cut()] : appends)
  }
}

onRedis('lost connections', (home) => {
  test.each([
    ['of the writer and of reads', ['normal']],
    ['that announcements come over', ['pubsub']],
    ['all of them', ['normal', 'pubsub']],
  ])('%s: no gap, no double, in order', async (_which, types) => {
    const writer = await home.open({ limits: { appendTimeoutMs: 30_000 } })
    const follower = await home.open()
    const stream = newStream()
    const inboxes = await Promise.all([
      Inbox.of(follower, stream),
      Inbox.of(follower, `${stream}*`),
      Inbox.of(follower, stream, { after: '0-0' }),
      Inbox.of(writer, stream),
      Inbox.of(writer, `${stream}*`, { after: '0-0' }),
    ])
    await writeThroughCuts(writer, stream, async () => {
      for (const type of types) await command(home.server, 'CLIENT', 'KILL', 'TYPE', type)
    })
    const stored = await writer.query({ stream })
    expect(stored).toHaveLength(3000)
    const ids = stored.map((event) => event.id)
    for (const inbox of inboxes) expect(await inbox.idsUntil(ids.at(-1) as string)).toEqual(ids)
  })

  test('a server that restarts: the subscription goes on by itself', async () => {
    const store = await home.open({ limits: { appendTimeoutMs: 30_000 } })
    const stream = newStream()
    const inbox = await Inbox.of(store, stream)
    await store.append(stream, numbered(0))
    await inbox.count(1)
    await home.server.restart()
    // Without a file to load the server knows nothing; ids go on by its clock.
    const stored = await store.append(stream, numbered(1))
    expect((await inbox.count(2)).at(-1)).toEqual(stored)
  })
})

/** An instance of the original as far as it matters: told an id, it fetches that entry. */
class OriginalReader {
  readonly announced: string[] = []
  readonly fetched: string[][][] = []
  readonly #subscriber: Redis
  readonly #reader: Redis
  #fetches: Array<Promise<unknown>> = []

  private constructor(server: RedisServer, stream: string, channel: string) {
    this.#subscriber = new Redis(server.url)
    this.#reader = new Redis(server.url)
    this.#subscriber.on('message', (from, id) => {
      if (from !== channel) return
      this.announced.push(id)
      const fetch = this.#reader.xrange(stream, id, id).then((entries) => this.fetched.push(entries as never))
      this.#fetches.push(fetch)
    })
  }

  static async start(server: RedisServer, stream: string, channel = `nq:events:${stream}`): Promise<OriginalReader> {
    const reader = new OriginalReader(server, stream, channel)
    onTestFinished(() => reader.#stop())
    await reader.#subscriber.subscribe(channel)
    return reader
  }

  async waitFor(count: number): Promise<void> {
    await until(() => this.announced.length >= count, `${count} announcements, ${this.announced.length} came`)
    await Promise.all(this.#fetches)
  }

  #stop(): void {
    this.#subscriber.disconnect()
    this.#reader.disconnect()
  }
}

onRedis('P10: the original’s subscribers', (home) => {
  test('are told each id once, in order, when its entry can be read', async () => {
    const store = await home.open()
    const run = newStream()
    const stream = `nq:flow:${run}`
    const original = await OriginalReader.start(home.server, stream)
    const single = Array.from({ length: 500 }, (_, n) => store.append(stream, numbered(n)))
    const batch = store.appendBatch(stream, [numbered(500), numbered(501), numbered(502)])
    const keyed = store.append(stream, numbered(503), { idempotencyKey: 'k' })
    await store.append(stream, numbered(504), { idempotencyKey: 'k' })
    await store.append(stream, numbered(505), { expectedLastId: '1-1' }).catch(() => {})
    await store.state(run).set('epoch', 1)
    const snapshot = await store.state(run).snapshot()
    const stored = await store.query({ stream })
    expect(stored.map((event) => event.id)).toContain((await keyed).id)
    expect(stored.at(-1)?.id).toBe(snapshot.id)
    expect(stored).toHaveLength((await Promise.all(single)).length + (await batch).length + 3)

    await original.waitFor(stored.length)
    // A second announcement of any of them would have come before this one.
    const last = await store.append(stream, numbered(999))
    await original.waitFor(stored.length + 1)
    const ids = [...stored.map((event) => event.id), last.id]
    expect(original.announced).toEqual(ids)
    expect(original.fetched.map((entries) => entries.map(([id]) => id))).toEqual(ids.map((id) => [id]))
  })

  test('of another prefix are told on its channel', async () => {
    const store = await home.open({ prefix: 'other' })
    const stream = newStream()
    const original = await OriginalReader.start(home.server, stream, `other:events:${stream}`)
    const { id } = await store.append(stream, numbered(0))
    await original.waitFor(1)
    expect(original.announced).toEqual([id])
  })

  test.each([
    ['closes its store and ends at once', 'await Promise.all(appends); await store.close(); process.exit()'],
    ['closes its store without awaiting its appends', 'await store.close(); process.exit()'],
    ['just ends', ''],
  ])('are told of everything by a process that %s', async (_how, end) => {
    const stream = newStream()
    const original = await OriginalReader.start(home.server, stream)
    const ended = await runCode(`
      import { EventStore } from './index.js'
      const store = await EventStore.open({ adapter: 'redis', redis: { url: '${home.server.url}' } })
      const event = { type: 'note.added', data: 1 }
      const appends = Array.from({ length: 2000 }, () => store.append('${stream}', event))
      ${end}
    `)
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const entries = (await command(home.server, 'XRANGE', stream, '-', '+')) as Array<[string, string[]]>
    expect(entries).toHaveLength(2000)
    await original.waitFor(2000)
    expect(original.announced).toEqual(entries.map(([id]) => id))
  })
})

onRedis('P10: the original’s entries', (home) => {
  const run = 'run-1'
  const ts = '2025-11-05T10:00:00.000Z'
  const stepFields = ['stepName', 'train', 'stepId', `${run}__train__attempt-1`, 'attempt', '1']

  function xadd(stream: string, type: string, data: string, rest: string[] = []): Promise<string> {
    const fields = ['type', type, 'runId', run, 'flowName', 'fit', 'data', data, 'ts', ts, ...rest]
    return command(home.server, 'XADD', stream, '*', ...fields) as Promise<string>
  }

  test('that it announces are delivered', async () => {
    const store = await home.open()
    const stream = `nq:flow:${newStream()}`
    const [one, many] = [await Inbox.of(store, stream), await Inbox.of(store, 'nq:flow:*')]
    const ids: string[] = []
    for (const [type, data, rest] of [
      ['flow.start', '{"input":{"epochs":3}}', []],
      ['step.started', '', stepFields],
      ['log', '{"level":"info","message":"ü"}', stepFields],
      ['emit', '{"name":"trained","loss":0.1}', stepFields],
    ] as const) {
      const id = await xadd(stream, type, data, [...rest])
      await command(home.server, 'PUBLISH', `nq:events:${stream}`, id)
      ids.push(id)
    }
    const timestampOf = (id: string) => new Date(Number.parseInt(id, 10)).toISOString()
    const common = (n: number) => ({
      id: ids[n],
      stream,
      timestamp: timestampOf(ids[n] as string),
      runId: run,
      flowName: 'fit',
    })
    const step = { stepName: 'train', stepId: `${run}__train__attempt-1`, attempt: 1 }
    const expected = [
      { ...common(0), type: 'flow.start', data: { input: { epochs: 3 } } },
      { ...common(1), ...step, type: 'step.started' },
      { ...common(2), ...step, type: 'log', data: { level: 'info', message: 'ü' } },
      { ...common(3), ...step, type: 'emit', data: { name: 'trained', loss: 0.1 } },
    ]
    expect(await one.count(4)).toEqual(expected)
    expect(await many.count(4)).toEqual(expected)
    expect(await store.query({ stream })).toEqual(expected)
  })

  test('that nobody announces are delivered all the same', async () => {
    const store = await home.open()
    const stream = `nq:flow:${newStream()}`
    const inbox = await Inbox.of(store, stream)
    const ids = [await xadd(stream, 'flow.start', '{}'), await xadd(stream, 'flow.completed', '{}')]
    expect(await inbox.idsUntil(ids[1] as string, 5000)).toEqual(ids)
  })

  test('announcements that lead nowhere do no harm', async () => {
    const store = await home.open()
    const stream = `nq:flow:${newStream()}`
    const inbox = await Inbox.of(store, stream)
    for (const message of ['', '0-0', '99999999999999-0', 'no id', 'x'.repeat(100_000)]) {
      await command(home.server, 'PUBLISH', `nq:events:${stream}`, message)
    }
    const { id } = await store.append(stream, numbered(0))
    await command(home.server, 'PUBLISH', `nq:events:${stream}`, id)
    const last = await store.append(stream, numbered(1))
    expect(await inbox.idsUntil(last.id)).toEqual([id, last.id])
  })
})
