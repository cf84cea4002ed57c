/** The original's internals over our stores: shapes and behaviour as the page on interoperation describes them. */

import { expect, test } from 'vitest'
import {
  createEventStoreAdapter,
  createEventStoreFactory,
  createRunLogger,
  createStateProvider,
  createWorkerContext,
  type EventRecord,
  type EventStoreAdapter,
  type EventSubscription,
} from '../compat.js'
import { open } from '../index.js'
import { VirtualClock } from '../testing.js'
import { newStream, onEveryBackend, onRedis } from './support/backends.js'
import { connect } from './support/redis.js'
import { Warnings } from './support/warnings.js'

const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/

/** Appends events that count from 1, not waiting for any before the last. */
async function count(adapter: EventStoreAdapter, subject: string, n: number): Promise<EventRecord[]> {
  return await Promise.all(
    Array.from({ length: n }, (_, index) =>
      adapter.append(subject, { type: 'count', runId: 'r', flowName: 'f', data: index + 1 }),
    ),
  )
}

const numbers = (events: readonly EventRecord[]) => events.map(({ data }) => data)

onEveryBackend('an event store adapter', (home) => {
  test('gives what was appended an id, a time and its subject, and reads back the same', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const event = { type: 'step.started', runId: 'r', flowName: 'f', stepName: 's', stepId: 'r__s__attempt-2' }
    const appended = await adapter.append(subject, { ...event, attempt: 2, data: { n: [1, null] } })
    const { subject: where, ...record } = appended
    expect(where).toBe(subject)
    expect(record).toEqual({
      ...{ ...event, attempt: 2, data: { n: [1, null] } },
      ...{ id: expect.stringMatching(/^\d+-\d+$/), ts: expect.stringMatching(ISO) },
    })
    expect(await adapter.read(subject)).toEqual([record])
  })

  test('leaves out what is missing, but for run and flow', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    await adapter.append(subject, { type: 'emit' })
    expect((await adapter.read(subject)).map(Object.keys)).toEqual([['id', 'ts', 'type', 'runId', 'flowName']])
    expect(await adapter.read(subject)).toMatchObject([{ runId: '', flowName: '' }])
  })

  test('passes over what an entry has no place for', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const odd = {
      type: 't',
      kind: 'x',
      jobId: 5,
      stepName: null,
      attempt: '3',
      id: '1-1',
      ts: 'never',
      subject: 'other',
    }
    const record = await adapter.append(subject, odd as never)
    expect(record).toMatchObject({ type: 't', attempt: 3, subject })
    expect([record.id, record.ts]).not.toEqual(['1-1', 'never'])
    expect(Object.keys(record).sort()).toEqual(['attempt', 'flowName', 'id', 'runId', 'subject', 'ts', 'type'])
  })

  test('keeps of data what JSON keeps of it', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const data = { at: new Date(0), map: new Map([[1, 2]]), missing: undefined, nan: Number.NaN, run: () => 1 }
    await Promise.all([
      adapter.append(subject, { type: 'a', data }),
      adapter.append(subject, { type: 'b', data: () => 1 }),
    ])
    const [a, b] = await adapter.read(subject)
    expect(a?.data).toEqual({ at: '1970-01-01T00:00:00.000Z', map: {}, nan: null })
    expect([b?.type, b && 'data' in b]).toEqual(['b', false])
  })

  test('keeps the order of calls that nobody awaits, and reads them at once', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    for (let n = 1; n <= 300; n++) void adapter.append(subject, { type: 'count', data: n === 7 ? { odd: () => 1 } : n })
    const data = numbers(await adapter.read(subject))
    expect(data).toEqual(Array.from({ length: 300 }, (_, index) => (index === 6 ? {} : index + 1)))
  })

  test('reads forwards behind an id, and backwards before one', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const ids = (await count(adapter, subject, 5)).map(({ id }) => id)
    const read = async (options: object) => numbers(await adapter.read(subject, options))
    expect(await read({ fromId: ids[1] })).toEqual([3, 4, 5])
    expect(await read({ fromId: ids[1], limit: 2 })).toEqual([3, 4])
    expect(await read({ direction: 'backward' })).toEqual([5, 4, 3, 2, 1])
    expect(await read({ direction: 'backward', limit: 1 })).toEqual([5])
    expect(await read({ direction: 'backward', fromId: ids[2], limit: 5 })).toEqual([2, 1])
    expect(await read({ direction: 'forward', limit: undefined, fromId: undefined })).toHaveLength(5)
    expect(await adapter.read(newStream())).toEqual([])
  })

  test('reads all events if nobody says how many', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    await count(adapter, subject, 250)
    expect(await adapter.read(subject)).toHaveLength(250)
    expect(await adapter.read(subject, { limit: 200 })).toHaveLength(200)
  })

  test('tells subscribers of new events only, in order, each once', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    await count(adapter, subject, 3)
    const seen: EventRecord[] = []
    const subscription = await adapter.subscribe(subject, (event) => seen.push(event))
    const appended = await count(adapter, subject, 100)
    await expect.poll(() => seen.length).toBe(100)
    expect(seen).toEqual(appended.map(({ subject: _subject, ...record }: EventRecord & { subject?: string }) => record))
    expect(subscription.unsubscribe()).toBeUndefined()
    subscription.unsubscribe()
    await count(adapter, subject, 1)
    expect(await adapter.read(subject)).toHaveLength(104)
    expect(seen).toHaveLength(100)
  })

  test('takes subscriptions that come and go at the same time', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const seen = Array.from({ length: 20 }, () => [] as unknown[])
    const subscriptions: EventSubscription[] = await Promise.all(
      seen.map((own) => adapter.subscribe(subject, ({ data }) => own.push(data))),
    )
    for (const [index, subscription] of subscriptions.entries()) if (index % 2) subscription.unsubscribe()
    await count(adapter, subject, 3)
    for (const own of seen.filter((_, index) => index % 2 === 0)) await expect.poll(() => own).toEqual([1, 2, 3])
    expect(seen.filter((_, index) => index % 2).flat()).toEqual([])
  })

  test('does not wait for subscribers, nor end with one that fails', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = newStream()
    const seen: unknown[] = []
    const warnings = new Warnings()
    await adapter.subscribe(subject, async ({ data }) => {
      seen.push(data)
      if (data === 1) throw new Error('unlucky')
      await new Promise(() => {})
    })
    await count(adapter, subject, 3)
    await expect.poll(() => seen).toEqual([1, 2, 3])
    warnings.stop()
    expect(warnings.caught.map(({ message }) => message).join()).toContain('unlucky')
  })

  test('takes the name of a stream as it is', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const subject = `${newStream()}*[a]?`
    const seen: unknown[] = []
    await adapter.subscribe(subject, ({ data }) => seen.push(data))
    await count(adapter, `${subject.slice(0, -6)}b`, 1)
    await count(adapter, subject, 2)
    await expect.poll(() => seen).toEqual([1, 2])
  })

  test('reads an index from its highest score on, 50 members at a time', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const key = newStream()
    await Promise.all(Array.from({ length: 60 }, (_, n) => adapter.indexAdd(key, `run-${n}`, n + 0.5)))
    const members = await adapter.indexRead(key)
    expect(members).toHaveLength(50)
    expect(members[0]).toEqual({ id: 'run-59', score: 59.5 })
    expect(await adapter.indexRead(key, { offset: 58, limit: 10 })).toEqual([
      { id: 'run-1', score: 1.5 },
      { id: 'run-0', score: 0.5 },
    ])
    await adapter.deleteIndex(key)
    expect(await adapter.indexRead(key)).toEqual([])
  })

  test('deletes a stream, and streams by a pattern', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const base = newStream()
    for (const name of ['a', 'b', 'c']) await count(adapter, `${base}:${name}`, 1)
    expect(await adapter.deleteStream(`${base}:a`)).toBeUndefined()
    expect(await adapter.deleteByPattern(`${base}:*`)).toBe(2)
    expect(await adapter.read(`${base}:b`)).toEqual([])
    expect(await adapter.deleteByPattern(`${base}:*`)).toBe(0)
  })

  test('opens and closes a store of its own from a configuration, and leaves others open', async () => {
    const store = await home.open()
    await createEventStoreAdapter(store).close()
    const own = createEventStoreAdapter(home.options)
    const ofQueue = createEventStoreAdapter({ eventStore: home.options, logging: { level: 'info' } })
    const subject = newStream()
    for (const adapter of [createEventStoreAdapter(store), own, ofQueue]) {
      await adapter.append(subject, { type: 't' })
      expect((await adapter.read(subject)).length).toBeGreaterThan(0)
    }
    await Promise.all([own.close(), ofQueue.close()])
    await expect(own.append(subject, { type: 't' })).rejects.toMatchObject({ code: 'NQ_CLOSED' })
    await own.close()
  })

  test('refuses what it can not read', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const refused: Array<[() => Promise<unknown>, string, string]> = [
      [() => adapter.append('s', {} as never), 'NQ_INVALID_EVENT', 'type'],
      [() => adapter.append('s', null as never), 'NQ_VALIDATION', 'event'],
      [() => adapter.append('', { type: 't' }), 'NQ_INVALID_EVENT', 'stream'],
      [() => adapter.read('s', { direction: 'up' as never }), 'NQ_VALIDATION', "'forward' or 'backward'"],
      [() => adapter.read('s', { limit: -1 }), 'NQ_VALIDATION', 'limit'],
      [() => adapter.read('s', { fromId: 'x' }), 'NQ_VALIDATION', 'after'],
      [() => adapter.subscribe('s', 5 as never), 'NQ_VALIDATION', 'callback'],
      [() => adapter.indexAdd('k', 'r', Number.NaN), 'NQ_VALIDATION', 'score'],
    ]
    for (const [call, code, message] of refused) {
      await expect(call()).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
    }
  })
})

test('an adapter by a name that nobody knows is one in memory, which is said', async () => {
  const warnings = new Warnings()
  const adapter = createEventStoreAdapter({ adapter: 'mongo' } as never)
  await adapter.append('s', { type: 't' })
  expect(await adapter.read('s')).toHaveLength(1)
  await adapter.close()
  await expect.poll(() => warnings.caught.map(String).join()).toContain('There is no adapter "mongo"')
  warnings.stop()
})

test('a source that is none is refused', () => {
  for (const source of [5, null, { adapter: 'redis', redis: 5 }, { eventStore: { retention: { active: -1 } } }]) {
    expect(() => createEventStoreAdapter(source as never)).toThrow(expect.objectContaining({ code: 'NQ_CONFIG' }))
  }
})

onEveryBackend('an event store factory', (home) => {
  test('has an adapter, names, streams, and starts the wiring once', async () => {
    const made: object[] = []
    const calls: string[] = []
    const wiring = { start: () => calls.push('start'), stop: () => calls.push('stop') }
    const { adapter, names, stream, start, stop } = createEventStoreFactory(await home.open(), {
      createWiringRegistry: (dependencies) => {
        made.push(dependencies)
        return wiring
      },
    })
    expect([names.flow('42'), names.flowIndex('order')]).toEqual(['nq:flow:42', 'nq:flows:order'])
    expect(made).toEqual([])
    start()
    start()
    expect(made).toEqual([{ adapter, names }])
    stop()
    stop()
    start()
    expect(calls).toEqual(['start', 'stop', 'start'])
    const instance = stream('events')
    const subject = newStream()
    const seen: unknown[] = []
    await instance.subscribe(subject, ({ data }) => seen.push(data))
    await instance.append(subject, { type: 't', data: 1 })
    expect(instance.name).toBe('events')
    expect(await instance.read(subject, { limit: 5 })).toEqual(await adapter.read(subject))
    await expect.poll(() => seen).toEqual([1])
  })

  test('is there before its store can be reached, and works without a wiring', async () => {
    const factory = createEventStoreFactory({ eventStore: { ...home.options, prefix: 'own' } })
    factory.start()
    factory.stop()
    const subject = factory.names.flow(newStream())
    expect(subject).toMatch(/^own:flow:/)
    await factory.adapter.append(subject, { type: 't' })
    expect(await factory.adapter.read(subject)).toHaveLength(1)
    await factory.adapter.close()
  })
})

onEveryBackend('a state provider', (home) => {
  test('keeps the state of a run in its events', async () => {
    const store = await home.open()
    const provider = createStateProvider(store)
    const runId = newStream().replaceAll(':', '-')
    expect(await provider.get(`flow:${runId}:epoch`)).toBeNull()
    expect(await provider.set(`flow:${runId}:epoch`, 1)).toBeUndefined()
    await provider.set(`flow:${runId}:name`, '123')
    await provider.set(`flow:${runId}:nothing`, null)
    expect(await provider.get(`flow:${runId}:name`)).toBe('123')
    expect(await provider.get(`nq:flow:${runId}:epoch`)).toBe(1)
    expect(await provider.get(`flow:${runId}:nothing`)).toBeNull()
    expect(await store.state(runId).getAll()).toEqual({ epoch: 1, name: '123', nothing: null })
    await provider.delete(`flow:${runId}:epoch`)
    await provider.set(`flow:${runId}:name`, undefined)
    expect(await store.state(runId).getAll()).toEqual({ nothing: null })
    expect(await store.state(runId).history('epoch')).toHaveLength(2)
  })

  test('keeps everything else in the stream nq:state', async () => {
    const store = await home.open()
    const [one, two] = [createStateProvider(store), createStateProvider(store)]
    const name = newStream()
    await one.set(name, { deep: [1] })
    expect(await two.get(name)).toEqual({ deep: [1] })
    await two.set(name, 2)
    expect(await one.get(name)).toBe(2)
    await one.delete(name)
    expect(await two.get(name)).toBeNull()
    const events = await store.query({ stream: 'nq:state', types: ['state.*'] })
    expect(events.slice(-3).map(({ type }) => type)).toEqual(['state.set', 'state.set', 'state.delete'])
    expect(await one.get('__proto__')).toBeNull()
    expect(await one.get('constructor')).toBeNull()
    await one.set(name, 1)
    await store.deleteStream('nq:state')
    expect([await one.get(name), await two.get(name)]).toEqual([null, null])
    await two.set(name, 2)
    expect([await one.get(name), await two.get(name)]).toEqual([2, 2])
  })

  test('lists keys by their beginning', async () => {
    const provider = createStateProvider(await home.open())
    const id = newStream().replaceAll(':', '-')
    for (const key of [`flow:${id}1:a`, `flow:${id}1:b:c`, `flow:${id}10:a`, `${id}:x`]) await provider.set(key, 1)
    const list = async (prefix: string, limit?: number) =>
      (await provider.list(prefix, limit === undefined ? undefined : { limit })).keys
    expect(await list(`flow:${id}1:`)).toEqual([`flow:${id}1:a`, `flow:${id}1:b:c`])
    expect(await list(`nq:flow:${id}1:b`)).toEqual([`flow:${id}1:b:c`])
    expect(await list(`flow:${id}`)).toEqual([`flow:${id}1:a`, `flow:${id}1:b:c`, `flow:${id}10:a`])
    expect(await list(`flow:${id}`, 2)).toHaveLength(2)
    expect(await list(id)).toEqual([`${id}:x`])
    expect(await list('')).toEqual(expect.arrayContaining([`${id}:x`, `flow:${id}10:a`]))
    expect(await list('flow:none:')).toEqual([])
  })

  test('takes names as the original did', async () => {
    const provider = createStateProvider(await home.open())
    const id = newStream().replaceAll(':', '-')
    await provider.set(`flow:${id}:a/b\\c?d`, 1)
    expect((await provider.list(`flow:${id}:`)).keys).toEqual([`flow:${id}:a:b:c`])
    expect(await provider.get(`flow:${id}:a:b:c`)).toBe(1)
    for (const key of ['', '?x', ':', 5, undefined]) {
      await expect(provider.get(key as string)).rejects.toMatchObject({ code: 'NQ_VALIDATION' })
    }
  })

  test('loses nothing of concurrent patches, with any number of retries', async () => {
    const store = await home.open()
    const id = newStream().replaceAll(':', '-')
    for (const key of [`flow:${id}:n`, `${id}-n`]) {
      const providers = [createStateProvider(store), createStateProvider(store)]
      const add = (n: number | null) => (n ?? 0) + 1
      await Promise.all(Array.from({ length: 30 }, (_, n) => providers[n % 2]?.patch<number>(key, add, { retries: 0 })))
      expect(await providers[0]?.get(key)).toBe(30)
      const failing = () => {
        throw new Error('no')
      }
      await expect(providers[0]?.patch(key, failing)).rejects.toThrow('no')
    }
  })

  test('lets keys expire after milliseconds', async () => {
    const clock = new VirtualClock()
    const provider = createStateProvider(await home.open({ clock }))
    const id = newStream().replaceAll(':', '-')
    // Redis has a clock of its own for ids: what expires does so by the store's.
    for (const key of [`flow:${id}:k`, `${id}-k`]) {
      await provider.set(key, 1, { ttl: 60_000 })
      expect(await provider.get(key)).toBe(1)
    }
    await clock.advance('61s')
    for (const key of [`flow:${id}:k`, `${id}-k`]) expect(await provider.get(key)).toBeNull()
    await expect(provider.set(`flow:${id}:k`, 1, { ttl: -1 })).rejects.toMatchObject({ code: 'NQ_VALIDATION' })
  })

  test('keeps nq:state short, with what expires', async () => {
    const store = await home.open({ prefix: 'short' })
    const provider = createStateProvider(store)
    await provider.set('kept', 'for ever')
    await provider.set('expiring', 1, { ttl: 3_600_000 })
    for (let n = 0; n < 1200; n++) void provider.set('counter', n)
    expect(await provider.get('counter')).toBe(1199)
    await expect.poll(async () => (await store.query({ stream: 'short:state' })).length).toBeLessThan(10)
    for (const each of [provider, createStateProvider(store)]) {
      expect((await each.list('')).keys).toEqual(['counter', 'expiring', 'kept'])
      expect(await each.get('counter')).toBe(1199)
    }
    const [expiring] = await store.query({ stream: 'short:state', types: ['state.set'] })
    expect(expiring?.data).toMatchObject({ key: 'expiring', expiresAt: expect.stringMatching(ISO) })
    await store.deleteStreams('short:*')
  })
})

onEveryBackend('a run logger', (home) => {
  test('stores lines as the original calls it, and in our ways', async () => {
    const store = await home.open()
    const runId = newStream()
    const place = { flowId: runId, flowName: 'f', stepName: 's', stepId: 'x', attempt: 1 }
    const { log, info } = bound(createRunLogger(store, place))
    log('warn', 'careful', { a: 1 })
    info('fine')
    const lines = await createEventStoreAdapter(store).read(`nq:flow:${runId}`)
    expect(lines).toMatchObject([
      {
        type: 'log.warn',
        runId,
        ...omitFlowId(place),
        data: { level: 'warn', message: 'careful', metadata: { a: 1 } },
      },
      { type: 'log.info', data: { level: 'info', message: 'fine' } },
    ])
  })

  test('logs where it is told to, or its core', async () => {
    const lines: unknown[] = []
    const external = { adapter: (entry: object) => void lines.push(entry) }
    const store = await home.open()
    const logging = { routing: 'external', level: 'info', external } as const
    const logger = createRunLogger(store, { runId: 'r' }, { logging })
    logger.debug('quiet')
    logger.info('loud')
    expect(lines).toMatchObject([{ level: 'info', message: 'loud', runId: 'r' }])
    expect(() => createRunLogger(store, {})).toThrow(expect.objectContaining({ code: 'NQ_INVALID_EVENT' }))
    const core = await open({ eventStore: home.options, logging })
    createRunLogger(core, { runId: 'of a core' }).info('hello')
    await core.close()
    expect(lines.slice(1)).toMatchObject([{ message: 'hello', runId: 'of a core' }])
    for (const source of [home.options, null, 5]) {
      const make = () => createRunLogger(source as never, { runId: 'r' })
      expect(make).toThrow(expect.objectContaining({ code: 'NQ_CONFIG' }))
    }
  })
})

/** Methods that were taken out of their object, as the original does. */
const bound = (logger: ReturnType<typeof createRunLogger>) => ({
  log: logger.log.bind(logger),
  info: logger.info.bind(logger),
})

const omitFlowId = ({ flowId: _flowId, ...place }: { flowId: string }) => place

const job = (runId: string, more: object = {}) => ({
  ...{ jobId: `${runId}__train`, queue: 'ml', flowId: runId, flowName: 'flow', stepName: 'train', attempt: 1 },
  ...more,
})

onEveryBackend('a worker context', (home) => {
  test('has what the original gives, and more', async () => {
    const store = await home.open()
    const runId = newStream()
    const [provider, registry, emitted] = [{}, {}, [] as unknown[]]
    const flow = { startFlow: () => 'started', emit: (...args: unknown[]) => emitted.push(args), handle: () => 'mine' }
    const ctx = createWorkerContext(store, job(runId, { provider, registry, flow }))
    expect(ctx).toMatchObject({
      ...{ jobId: `${runId}__train`, queue: 'ml', flowId: runId, runId, flowName: 'flow', stepName: 'train' },
      ...{ attempt: 1, stepId: `${runId}__train__attempt-1` },
    })
    expect([ctx.provider, ctx.registry]).toEqual([provider, registry])
    ctx.logger.log('info', 'hello', { n: 1 })
    await ctx.state.set('epoch', 1)
    expect([await ctx.state.get('epoch'), await ctx.state.get('other')]).toEqual([1, null])
    await ctx.state.patch<number>('epoch', (n) => (n ?? 0) + 1)
    await ctx.state.set('tmp/x', 1, { ttl: 60_000 })
    await ctx.state.setBatch({ a: 1, b: null })
    expect(await ctx.state.getAll()).toEqual({ epoch: 2, 'tmp:x': 1, a: 1, b: null })
    expect([await ctx.state.has('b'), await ctx.state.list('t')]).toEqual([true, ['tmp:x']])
    await ctx.state.delete('tmp/x')
    expect((await ctx.state.history('epoch')).map(({ value }) => value)).toEqual([1, 2])
    expect([await ctx.flow.startFlow('other'), await ctx.flow.emit('done', 5)]).toEqual(['started', 1])
    expect(emitted).toEqual([['done', 5]])
    const [line, change] = await createEventStoreAdapter(store).read(`nq:flow:${runId}`)
    const place = { runId, flowName: 'flow', stepName: 'train', stepId: `${runId}__train__attempt-1`, attempt: 1 }
    expect([line, change]).toMatchObject([
      { ...place, type: 'log.info' },
      { ...place, type: 'state.set' },
    ])
    await expect((async () => ctx.await.time(1))()).rejects.toMatchObject({ code: 'NQ_CONFIG' })
    expect(() => createWorkerContext(store, { jobId: 'j', queue: 'q' })).toThrow(
      expect.objectContaining({ code: 'NQ_INVALID_EVENT' }),
    )
  })

  test('waits durably when it has a core', async () => {
    const core = await open({ eventStore: home.options, triggers: { secret: 's'.repeat(32) } })
    try {
      const adapter = createEventStoreAdapter(core)
      const runId = newStream()
      const step = { runId, flowName: 'flow', stepName: 'train', stepId: `${runId}__train__attempt-1`, attempt: 1 }
      await adapter.append(`nq:flow:${runId}`, { type: 'flow.start', runId, flowName: 'flow', data: {} })
      await adapter.append(`nq:flow:${runId}`, { ...step, type: 'step.started', data: {} })
      const first = createWorkerContext(core, job(runId))
      const url = first.await.getWebhookUrl()
      // This execution ends with its process, as far as the record knows.
      void first.flow.await('approval')
      await expect.poll(() => core.triggers.awaits(runId)).toHaveLength(1)
      expect(await core.triggers.resolveAwait(runId, 'train/approval/1', { ok: true })).toBe(true)
      const again = createWorkerContext(core, job(runId, { attempt: 2 }))
      expect(await again.flow.await('approval')).toEqual({ ok: true })
      expect(again.await.getWebhookUrl()).toBe(url)
      const webhook = again.await.webhook()
      await expect.poll(() => core.triggers.awaits(runId)).toHaveLength(1)
      const answer = await core.triggers.handleWebhook({
        ...{ method: 'POST', path: new URL(url, 'http://x').pathname, headers: { 'content-type': 'application/json' } },
        body: Buffer.from('{"n":5}'),
      })
      expect([answer.status, await webhook]).toEqual([200, { n: 5 }])
      await again.await.time(1)
      await expect(again.flow.await('never', { timeout: 1 })).rejects.toMatchObject({ code: 'NQ_TIMEOUT' })
      await adapter.append(`nq:flow:${runId}`, { ...step, type: 'step.completed', data: { result: 1 } })
      expect((await core.flows.status(runId))?.steps.train).toMatchObject({ status: 'completed' })
    } finally {
      await core.close()
    }
  })
})

onRedis('beside the original', (home) => {
  const layout = ({ fields }: { fields: string[] }) =>
    Object.fromEntries(fields.flatMap((name, at) => (at % 2 ? [] : [[name, fields[at + 1] ?? '']])))

  test('P10: what plain ioredis writes in its layout is read right, with the time that it noted', async () => {
    const store = await home.open()
    const adapter = createEventStoreAdapter(store)
    const redis = connect(home.server)
    const stream = `nq:flow:${newStream()}`
    const seen: EventRecord[] = []
    await adapter.subscribe(stream, (event) => seen.push(event))
    const ts = '2025-11-05T10:00:00.000Z'
    const head = ['type', 'step.completed', 'runId', 'r', 'flowName', 'f']
    const place = ['stepName', 's', 'stepId', 'r__s__attempt-1', 'attempt', '1']
    const id = (await redis.xadd(stream, '*', ...head, 'data', '{"n":1}', 'ts', ts, ...place)) as string
    await redis.publish(`nq:events:${stream}`, id)
    const bare = (await redis.xadd(stream, '*', ...head, 'data', '', 'ts', ts)) as string
    await redis.publish(`nq:events:${stream}`, bare)
    const expected = [
      {
        ...{ id, ts, type: 'step.completed', runId: 'r', flowName: 'f', stepName: 's', stepId: 'r__s__attempt-1' },
        ...{ attempt: 1, data: { n: 1 } },
      },
      { id: bare, ts, type: 'step.completed', runId: 'r', flowName: 'f' },
    ]
    // What the store keeps in memory does not have that time.
    const [record] = await store.query({ stream })
    expect(record && 'ts' in record).toBe(false)
    expect(await adapter.read(stream)).toEqual(expected)
    expect(await store.query({ stream })).not.toEqual(expect.arrayContaining([expect.objectContaining({ ts })]))
    expect(await adapter.read(stream, { direction: 'backward', limit: 1 })).toEqual(expected.slice(1))
    await expect.poll(() => seen).toEqual(expected)
    redis.disconnect()
  })

  test('P10: what is appended is read right by plain ioredis, which is told of it', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const [redis, subscriber] = [connect(home.server), connect(home.server)]
    const stream = newStream()
    const announced: string[] = []
    subscriber.on('message', (_channel, id) => announced.push(id))
    await subscriber.subscribe(`nq:events:${stream}`)
    const step = { runId: 'r', flowName: 'f', stepName: 's', stepId: 'i', attempt: 2 }
    const full = await adapter.append(stream, { type: 'a', ...step, data: 'text' })
    const bare = await adapter.append(stream, { type: 'b' })
    await expect.poll(() => announced).toEqual([full.id, bare.id])
    const [[id, fields], [, others]] = (await redis.xrange(stream, '-', '+')) as [
      [string, string[]],
      [string, string[]],
    ]
    expect(id).toBe(full.id)
    const names = fields.filter((_, at) => at % 2 === 0)
    expect(names.slice(0, 8)).toEqual(['type', 'runId', 'flowName', 'data', 'ts', 'stepName', 'stepId', 'attempt'])
    expect(layout({ fields })).toMatchObject({
      ...{
        type: 'a',
        runId: 'r',
        flowName: 'f',
        data: '"text"',
        ts: full.ts,
        stepName: 's',
        stepId: 'i',
        attempt: '2',
      },
    })
    expect(layout({ fields: others })).toMatchObject({ type: 'b', runId: '', flowName: '', data: '', ts: bare.ts })
    await adapter.indexAdd('nq:flows:f', 'r', 1730800000123)
    expect(await redis.zrange('nq:flows:f', 0, -1, 'WITHSCORES')).toEqual(['r', '1730800000123'])
    redis.disconnect()
    subscriber.disconnect()
  })

  test('P10: writers of both kinds share a stream, and subscribers of both kinds hear of all', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const [redis, subscriber] = [connect(home.server), connect(home.server)]
    const stream = newStream()
    const [ours, theirs] = [[] as string[], [] as string[]]
    await adapter.subscribe(stream, ({ id }) => ours.push(id))
    subscriber.on('message', (_channel, id) => theirs.push(id))
    await subscriber.subscribe(`nq:events:${stream}`)
    const write = async (n: number) => {
      if (n % 2) return void (await adapter.append(stream, { type: 'ours', data: n }))
      const id = await redis.xadd(
        stream,
        '*',
        'type',
        'theirs',
        'runId',
        '',
        'flowName',
        '',
        'data',
        String(n),
        'ts',
        '',
      )
      await redis.publish(`nq:events:${stream}`, id as string)
    }
    await Promise.all(Array.from({ length: 200 }, (_, n) => write(n)))
    const stored = (await adapter.read(stream)).map(({ id }) => id)
    expect(stored).toHaveLength(200)
    await expect.poll(() => ours).toEqual(stored)
    await expect.poll(() => [...theirs].sort()).toEqual([...stored].sort())
    redis.disconnect()
    subscriber.disconnect()
  })

  test('a lost connection loses no subscriber anything', async () => {
    const adapter = createEventStoreAdapter(await home.open())
    const redis = connect(home.server)
    const stream = newStream()
    const seen: unknown[] = []
    await adapter.subscribe(stream, ({ data }) => seen.push(data))
    for (let n = 0; n < 20; n++) {
      if (n % 5 === 2) await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      const id = await redis.xadd(stream, '*', 'type', 't', 'runId', '', 'flowName', '', 'data', String(n), 'ts', '')
      await redis.publish(`nq:events:${stream}`, id as string)
    }
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(Array.from({ length: 20 }, (_, n) => n))
    redis.disconnect()
  })

  test('a deletion by pattern takes old state with it where that is in use', async () => {
    const config = { eventStore: home.options, state: { provider: 'dual' } } as const
    const adapter = createEventStoreAdapter(config)
    const provider = createStateProvider(config)
    await provider.set('flow:gone:a', 1)
    expect(await adapter.deleteByPattern('nq:flow:gone*')).toBe(2)
    expect(await provider.get('flow:gone:a')).toBeNull()
    await Promise.all([adapter.close(), provider.close()])
  })
})
