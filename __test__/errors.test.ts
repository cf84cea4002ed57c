/**
 * Every failure is a NuxtQueueError with a code, a message, its cause where there is one, and a stack that leads to
 * the code that made the call: from synchronous methods, from promises and from loops.
 */

import { describe, expect, test } from 'vitest'
import { type ErrorCode, EventStore, type NewEvent, NuxtQueueError, reduceRun, reduceState } from '../index.js'
import { freePort } from '../scripts/lib/redis-server.mjs'
import { VirtualClock } from '../testing.js'
import { collect, type Home, newStream, onEveryBackend, onRedis } from './support/backends.js'
import { failure } from './support/failure.js'
import { command } from './support/redis.js'

/** A call that fails. `store` is open, or for `NQ_CLOSED` closed; `stream` holds one event. */
interface Failing {
  name: string
  code: ErrorCode
  call: (store: EventStore, stream: string) => unknown
}

// biome-ignore lint/suspicious/noExplicitAny: these tests pass what the types forbid
const anything = (value: unknown) => value as any

const note: NewEvent<'log.info'> = { type: 'log.info', data: { level: 'info', message: 'm' } }
const huge: NewEvent<'log.info'> = { type: 'log.info', data: { level: 'info', message: 'x'.repeat(2 ** 20) } }
const never = { expectedLastId: '1-1' }

const mistakes: Failing[] = [
  { name: 'append: a bad name', code: 'NQ_INVALID_EVENT', call: (store) => store.append('', note) },
  { name: 'append: a long name', code: 'NQ_INVALID_EVENT', call: (store) => store.append('x'.repeat(513), note) },
  {
    name: 'append: bad data',
    code: 'NQ_INVALID_EVENT',
    call: (store, s) => store.append(s, anything({ type: 't', data: 1n })),
  },
  { name: 'append: a large event', code: 'NQ_TOO_LARGE', call: (store, s) => store.append(s, huge) },
  {
    name: 'append: bad options',
    code: 'NQ_VALIDATION',
    call: (store, s) => store.append(s, note, { expectedLastId: 'x' }),
  },
  { name: 'append: a conflict', code: 'NQ_CONFLICT', call: (store, s) => store.append(s, note, never) },
  { name: 'appendBatch: empty', code: 'NQ_VALIDATION', call: (store, s) => store.appendBatch(s, []) },
  { name: 'appendBatch: a large event', code: 'NQ_TOO_LARGE', call: (store, s) => store.appendBatch(s, [note, huge]) },
  {
    name: 'appendBatch: a conflict',
    code: 'NQ_CONFLICT',
    call: (store, s) => store.appendBatch(s, [note, note], never),
  },
  { name: 'query: a bad id', code: 'NQ_VALIDATION', call: (store, s) => store.query({ stream: s, after: 'x' }) },
  { name: 'query: a bad name', code: 'NQ_VALIDATION', call: (store) => store.query({ stream: '\n' }) },
  { name: 'queryText', code: 'NQ_VALIDATION', call: (store, s) => store.queryText({ stream: s, limit: 0 }) },
  { name: 'queryGlobal', code: 'NQ_VALIDATION', call: (store) => store.queryGlobal({ pattern: '\n' }) },
  { name: 'iterate: of one stream', code: 'NQ_VALIDATION', call: (store) => collect(store.iterate({ stream: '\n' })) },
  { name: 'iterate: of many', code: 'NQ_VALIDATION', call: (store) => collect(store.iterate({ pattern: '\n' })) },
  { name: 'subscribe', code: 'NQ_VALIDATION', call: (store) => store.subscribe('\n', () => {}) },
  { name: 'streams', code: 'NQ_VALIDATION', call: (store) => collect(store.streams('\n')) },
  { name: 'deleteStream', code: 'NQ_VALIDATION', call: (store) => store.deleteStream('\n') },
  { name: 'deleteStreams', code: 'NQ_VALIDATION', call: (store) => store.deleteStreams('') },
  { name: 'indexAdd', code: 'NQ_VALIDATION', call: (store) => store.indexAdd('\n', 'a', 1) },
  { name: 'indexRead', code: 'NQ_VALIDATION', call: (store) => store.indexRead('\n') },
  { name: 'indexDelete', code: 'NQ_VALIDATION', call: (store) => store.indexDelete('\n') },
  { name: 'state', code: 'NQ_INVALID_EVENT', call: (store) => store.state('') },
  { name: 'state.get', code: 'NQ_VALIDATION', call: (store) => store.state('r').get(anything(5)) },
  { name: 'state.set', code: 'NQ_INVALID_EVENT', call: (store) => store.state('r').set('k', 1n) },
  { name: 'state.set: large', code: 'NQ_TOO_LARGE', call: (store) => store.state('r').set('k', 'x'.repeat(2 ** 20)) },
  { name: 'state.setBatch', code: 'NQ_INVALID_EVENT', call: (store) => store.state('r').setBatch({ k: 1n }) },
  { name: 'state.patch', code: 'NQ_INVALID_EVENT', call: (store) => store.state('r').patch('k', () => 1n) },
  { name: 'state.at', code: 'NQ_VALIDATION', call: (store) => store.state('r').at('now') },
  { name: 'state.diff', code: 'NQ_VALIDATION', call: (store) => store.state('r').diff(0, 'now') },
  { name: 'reduceState', code: 'NQ_VALIDATION', call: () => reduceState(anything(5)) },
  { name: 'reduceRun', code: 'NQ_VALIDATION', call: () => reduceRun([]) },
  { name: 'new VirtualClock', code: 'NQ_VALIDATION', call: () => new VirtualClock('now') },
  { name: 'clock.advance', code: 'NQ_VALIDATION', call: () => new VirtualClock().advance('soon') },
  { name: 'clock.set', code: 'NQ_VALIDATION', call: () => new VirtualClock().set('now') },
  { name: 'EventStore.open', code: 'NQ_CONFIG', call: () => EventStore.open({ prefix: '' }) },
  { name: 'EventStore.open: natively', code: 'NQ_CONFIG', call: () => EventStore.open({ prefix: '\n' }) },
]

/** Everything that asks the backend, so that it can be closed, or hold something else under the stream's name. */
const requests: Array<Pick<Failing, 'name' | 'call'>> = [
  { name: 'append', call: (store, s) => store.append(s, note) },
  { name: 'append with a condition', call: (store, s) => store.append(s, note, never) },
  { name: 'append with a key', call: (store, s) => store.append(s, note, { idempotencyKey: 'k' }) },
  { name: 'appendBatch', call: (store, s) => store.appendBatch(s, [note, note]) },
  { name: 'query', call: (store, s) => store.query({ stream: s }) },
  { name: 'queryText', call: (store, s) => store.queryText({ stream: s }) },
  { name: 'iterate', call: (store, s) => collect(store.iterate({ stream: s })) },
  { name: 'subscribe', call: (store, s) => store.subscribe(s, () => {}) },
]

const stateRequests: Array<Pick<Failing, 'name' | 'call'>> = [
  { name: 'state.get', call: (store, run) => store.state(run).get('k') },
  { name: 'state.getAll', call: (store, run) => store.state(run).getAll() },
  { name: 'state.has', call: (store, run) => store.state(run).has('k') },
  { name: 'state.set', call: (store, run) => store.state(run).set('k', 1) },
  { name: 'state.delete', call: (store, run) => store.state(run).delete('k') },
  { name: 'state.setBatch', call: (store, run) => store.state(run).setBatch({ k: 1 }) },
  { name: 'state.patch', call: (store, run) => store.state(run).patch('k', () => 1) },
  { name: 'state.list', call: (store, run) => store.state(run).list() },
  { name: 'state.at', call: (store, run) => store.state(run).at(1) },
  { name: 'state.history', call: (store, run) => store.state(run).history() },
  { name: 'state.diff', call: (store, run) => store.state(run).diff(1, 2) },
  { name: 'state.snapshot', call: (store, run) => store.state(run).snapshot() },
]

const wholeStoreRequests: Array<Pick<Failing, 'name' | 'call'>> = [
  { name: 'queryGlobal', call: (store) => store.queryGlobal({ pattern: '*' }) },
  { name: 'iterate over many', call: (store) => collect(store.iterate({ pattern: '*' })) },
  { name: 'streams', call: (store) => collect(store.streams('*')) },
  { name: 'deleteStream', call: (store, s) => store.deleteStream(s) },
  { name: 'deleteStreams', call: (store) => store.deleteStreams('nothing:*') },
  { name: 'indexAdd', call: (store) => store.indexAdd('nothing', 'a', 1) },
  { name: 'indexRead', call: (store) => store.indexRead('nothing') },
  { name: 'indexDelete', call: (store) => store.indexDelete('nothing') },
]

/** Makes the call as a user's code would; the stack has to lead here. */
async function trainModel(call: () => unknown): Promise<unknown> {
  const result = await call()
  return result
}

/** Checks all that holds of every error. */
async function expectFailure(code: ErrorCode, call: () => unknown): Promise<NuxtQueueError> {
  const error = await failure(() => trainModel(call))
  expect(error).toBeInstanceOf(NuxtQueueError)
  expect(error).toBeInstanceOf(Error)
  expect({ code: error.code, name: error.name }).toEqual({ code, name: 'NuxtQueueError' })
  expect(error.message).toMatch(/\S{2,} .*\S/)
  expect(error.message).not.toMatch(/undefined|\[object|panicked/)
  expect(error.stack).toContain(error.message.split('\n')[0])
  expect(error.stack).toContain('trainModel')
  if (error.cause !== undefined) expect(error.cause).toBeInstanceOf(Error)
  return error
}

onEveryBackend('errors', (home) => {
  async function withOneEvent(open: Home): Promise<[EventStore, string]> {
    const store = await open.open()
    const stream = newStream()
    await store.append(stream, note)
    return [store, stream]
  }

  for (const { name, code, call } of mistakes) {
    test(`${name}: ${code}`, async () => {
      const [store, stream] = await withOneEvent(home)
      await expectFailure(code, () => call(store, stream))
    })
  }

  for (const { name, call } of [...requests, ...stateRequests, ...wholeStoreRequests]) {
    test(`${name} on a closed store: NQ_CLOSED`, async () => {
      const [store, stream] = await withOneEvent(home)
      await store.close()
      const error = await expectFailure('NQ_CLOSED', () => call(store, stream))
      expect(error.message).toContain('closed')
    })
  }

  test('data with a mistake deep inside', async () => {
    const [store, stream] = await withOneEvent(home)
    let data: unknown = { weight: Number.NaN }
    for (let level = 0; level < 100; level++) data = { layers: [data] }
    const error = await expectFailure('NQ_INVALID_EVENT', () => store.append(stream, anything({ type: 't', data })))
    expect(error.message).toContain('.layers[0].weight is NaN')
  })

  test('many failures at once have a stack each', async () => {
    const [store, stream] = await withOneEvent(home)
    const calls = Array.from({ length: 50 }, () =>
      expectFailure('NQ_CONFLICT', () => store.append(stream, note, never)),
    )
    expect(new Set(await Promise.all(calls)).size).toBe(50)
    expect(await store.query({ stream })).toHaveLength(1)
  })

  test('a failure that nobody awaits at once is not lost', async () => {
    const [store, stream] = await withOneEvent(home)
    const append = store.append(stream, note, never)
    await expect(append).rejects.toBeInstanceOf(NuxtQueueError)
    await expect(append).rejects.toMatchObject({ code: 'NQ_CONFLICT' })
  })
})

onRedis('errors of the server', (home) => {
  for (const { name, call } of [...requests, ...stateRequests]) {
    test(`${name} on a key that is no stream: NQ_BACKEND`, async () => {
      const store = await home.open()
      const name = newStream()
      await command(home.server, 'SET', name, 'text')
      await command(home.server, 'SET', `nq:flow:${name}`, 'text')
      const error = await expectFailure('NQ_BACKEND', () => call(store, name))
      expect(error.message).toContain('WRONGTYPE')
      expect(await command(home.server, 'GET', name)).toBe('text')
    })
  }

  test('an index on a key that is none: NQ_BACKEND', async () => {
    const store = await home.open()
    const key = newStream()
    await store.append(key, note)
    await expectFailure('NQ_BACKEND', () => store.indexAdd(key, 'a', 1))
    await expectFailure('NQ_BACKEND', () => store.indexRead(key))
  })

  test('out of memory: NQ_BACKEND, and it works again afterwards', async () => {
    const store = await home.open()
    const stream = newStream()
    await command(home.server, 'CONFIG', 'SET', 'maxmemory', '1')
    for (const options of [{}, { idempotencyKey: 'k' }]) {
      const error = await expectFailure('NQ_BACKEND', () => store.append(stream, note, options))
      expect(error.message).toContain('OOM')
    }
    await command(home.server, 'CONFIG', 'SET', 'maxmemory', '0')
    await store.append(stream, note)
    expect(await store.query({ stream })).toHaveLength(1)
  })

  test('no permission: NQ_BACKEND', async () => {
    await command(
      home.server,
      'ACL',
      'SETUSER',
      'reader',
      'on',
      'nopass',
      '~*',
      '&*',
      '+@all',
      '-xadd',
      '-eval',
      '-evalsha',
    )
    const url = home.server.url.replace('//', '//reader:x@')
    const store = await home.open({ redis: { url } })
    const error = await expectFailure('NQ_BACKEND', () => store.append(newStream(), note))
    expect(error.message).toContain('NOPERM')
    expect(await store.queryGlobal({ pattern: 'nothing:*' })).toEqual([])
  })

  test('a server that stopped: NQ_TIMEOUT or NQ_UNAVAILABLE, with what is known of the outcome', async () => {
    const store = await home.open({ limits: { appendTimeoutMs: 300 } })
    const stream = newStream()
    home.server.pause()
    try {
      const error = await expectFailure('NQ_TIMEOUT', () => store.append(stream, note))
      expect(error.message).toContain('may or may not')
      await expectFailure('NQ_TIMEOUT', () => store.query({ stream }))
    } finally {
      home.server.resume()
    }
    expect((await store.query({ stream })).length).toBeLessThanOrEqual(1)
  })
})

describe('errors of opening', () => {
  test('a server that is not there: NQ_UNAVAILABLE, with the system’s error as the cause', async () => {
    const port = await freePort()
    const options = { adapter: 'redis', redis: { host: '127.0.0.1', port } } as const
    const error = await expectFailure('NQ_UNAVAILABLE', () => EventStore.open(options))
    expect((error.cause as Error).message).toMatch(/refused/i)
  })
})

describe('the class', () => {
  test('can be made, and its members are where they should be', () => {
    const cause = new Error('underneath')
    const error = new NuxtQueueError('NQ_CONFLICT', 'someone else was first', { cause })
    expect(error).toMatchObject({
      code: 'NQ_CONFLICT',
      message: 'someone else was first',
      cause,
      name: 'NuxtQueueError',
    })
    expect(String(error)).toBe('NuxtQueueError: someone else was first')
    expect('cause' in new NuxtQueueError('NQ_CLOSED', 'closed')).toBe(false)
  })
})
