/** Lines of a run: in order, never at the cost of who logs, and with whatever they were given. */

import { describe, expect, test, vi } from 'vitest'
import { EventStore, type LogEntry } from '../index.js'
import { type LoggerOptions, RunLogger } from '../lib/log/logger.js'
import { onEveryBackend } from './support/backends.js'

const stream = 'nq:flow:r'
const envelope = { runId: 'r', flowName: 'f', stepName: 's', attempt: 2 }

/** A logger into a list. */
function listing(options?: LoggerOptions, append?: (event: unknown) => Promise<unknown>) {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into them freely
  const events: any[] = []
  const store = {
    append: async (_stream: string, event: unknown) => {
      events.push(event)
      return append?.(event)
    },
  }
  return { events, logger: new RunLogger(store, stream, envelope, options) }
}

/** What becomes of metadata. */
function stored(metadata: unknown): Record<string, unknown> {
  const { events, logger } = listing()
  logger.info('m', metadata as Record<string, unknown>)
  const [{ data }] = events
  expect(JSON.parse(JSON.stringify(data))).toEqual(data)
  return data.metadata
}

onEveryBackend('the log of a run', (home) => {
  test('stands in order with the changes of state', async () => {
    const store = await home.open()
    const state = store.state('r', envelope)
    const logger = new RunLogger(store, stream, envelope)
    logger.info('one', { n: 1 })
    state.set('k', 1)
    logger.debug('two')
    logger.child({ child: true }).warn('three', { n: 3 })
    await state.set('k', 2)
    logger.log('error', 'four')
    await logger.flush()
    const events = await store.query({ stream })
    expect(events.map(({ type, data }) => [type, data])).toEqual([
      ['log.info', { level: 'info', message: 'one', metadata: { n: 1 } }],
      ['state.set', { key: 'k', value: 1 }],
      ['log.debug', { level: 'debug', message: 'two' }],
      ['log.warn', { level: 'warn', message: 'three', metadata: { child: true, n: 3 } }],
      ['state.set', { key: 'k', value: 2 }],
      ['log.error', { level: 'error', message: 'four' }],
    ])
    expect(events[0]).toMatchObject(envelope)
  })

  test('can hold the largest line', async () => {
    const store = await home.open()
    const logger = new RunLogger(store, stream, envelope)
    // Each of these takes six bytes as JSON.
    const text = '\u0001'.repeat(10_000_000)
    logger.child({ text }).info(text, { more: text })
    await logger.flush()
  })

  test('a line that can not be stored fails the next flush, once', async () => {
    const store = await home.open()
    const logger = new RunLogger(store, stream, { ...envelope, runId: '' })
    logger.info('lost')
    logger.child({}).info('lost, too')
    await expect(logger.flush()).rejects.toMatchObject({ code: 'NQ_INVALID_EVENT' })
    await logger.flush()
    await store.close()
    logger.info('closed')
    await expect(logger.child({}).flush()).rejects.toBeInstanceOf(Error)
    await logger.flush()
  })
})

test('flush waits for the lines so far, the first failure counts', async () => {
  const settle: Array<(error?: Error) => void> = []
  const { logger } = listing(
    {},
    () => new Promise((resolve, reject) => settle.push((e) => (e ? reject(e) : resolve(0)))),
  )
  logger.info('1')
  logger.child({}).info('2')
  const flushed = vi.fn()
  const flush = logger.flush().catch(flushed)
  settle[1]?.(new Error('second'))
  await new Promise(setImmediate)
  expect(flushed).not.toHaveBeenCalled()
  settle[0]?.(new Error('first'))
  await flush
  expect(flushed).toHaveBeenCalledWith(new Error('second'))
  await logger.flush()
})

describe('each side has a level of its own', () => {
  const levels = ['debug', 'info', 'warn', 'error'] as const
  test.each([
    ['debug', 'warn', [...levels], ['warn', 'error']],
    ['error', 'info', ['error'], ['info', 'warn', 'error']],
    ['none', 'debug', [], [...levels]],
    ['info', undefined, ['info', 'warn', 'error'], []],
  ] as const)('%s inside and %s outside', (level, outside, recorded, told) => {
    const heard: string[] = []
    const write = ({ message }: LogEntry) => heard.push(message)
    const { events, logger } = listing({ level, ...(outside && { external: { level: outside, write } }) })
    for (const each of levels) logger.child({}).log(each, each)
    expect(events.map(({ data }) => data.level)).toEqual(recorded)
    expect(heard).toEqual(told)
  })
})

test('a line that is not logged is not even looked at', () => {
  const looked = vi.fn()
  const metadata = Object.defineProperty({}, 'x', { get: looked, enumerable: true })
  listing({ level: 'warn' }).logger.info('m', metadata)
  listing({ level: 'none' }).logger.error('m', metadata)
  listing({ isSampled: () => false }).logger.error('m', metadata)
  listing({ isMuted: () => true }).logger.error('m', metadata)
  expect(looked).not.toHaveBeenCalled()
})

test('keeps a line whose level nobody knows', () => {
  const { events, logger } = listing()
  logger.log('fatal' as LogEntry['level'], 'm')
  logger.log(undefined as unknown as LogEntry['level'], 'm')
  logger.log('toString' as LogEntry['level'], 'm')
  logger.log({ toString: () => 'error' } as unknown as LogEntry['level'], 'm')
  expect(events.map(({ type, data }) => [type, data.level])).toEqual([
    ['log.info', 'info'],
    ['log.info', 'info'],
    ['log.info', 'info'],
    ['log.info', 'info'],
  ])
})

test('a line that goes outside has the envelope of its event, and a timestamp', () => {
  const entries: LogEntry[] = []
  const { logger } = listing({ now: () => 0, external: { level: 'debug', write: (entry) => entries.push(entry) } })
  logger.info('a', { n: 1 })
  logger.error('b')
  expect(entries).toEqual([
    { ...envelope, level: 'info', message: 'a', metadata: { n: 1 }, timestamp: '1970-01-01T00:00:00.000Z' },
    { ...envelope, level: 'error', message: 'b', timestamp: '1970-01-01T00:00:00.000Z' },
  ])
})

test('what is done to a line outside changes no other line', async () => {
  const store = await EventStore.open()
  const write = (entry: LogEntry) => {
    const { user } = entry.metadata as { user: Record<string, unknown> }
    expect(user.name).toBe('A')
    delete user.name
    entry.message = ''
  }
  const logger = new RunLogger(store, stream, envelope, { external: { level: 'debug', write } })
  const child = logger.child({ user: { name: 'A' } })
  child.info('one')
  child.child({ more: 1 }).info('two')
  await child.flush()
  const data = (await store.query({ stream, types: ['log.info'] })).map((event) => event.data)
  expect(data.map(({ message, metadata }) => [message, metadata?.user])).toEqual([
    ['one', { name: 'A' }],
    ['two', { name: 'A' }],
  ])
  await store.close()
})

test('children add to the metadata of their parents', () => {
  const { events, logger } = listing()
  const child = logger.child({ a: 1, b: 1 }).child({ b: 2, c: 2 })
  child.info('m', { c: 3 })
  logger.info('m')
  expect(events.map(({ data }) => data.metadata)).toEqual([{ a: 1, b: 2, c: 3 }, undefined])
})

test('metadata are taken as they are at the call', async () => {
  const { events, logger } = listing()
  const metadata = { list: [1] }
  const child = logger.child(metadata)
  logger.info('m', metadata)
  metadata.list.push(2)
  child.info('m')
  expect(events.map(({ data }) => data.metadata)).toEqual([{ list: [1] }, { list: [1] }])
})

test('errors keep name, message, stack, cause and what was put on them', () => {
  const cause = new TypeError('why')
  const error = Object.assign(new Error('what', { cause }), { code: 'E_WHAT' })
  const safe = {
    ...{ name: 'Error', message: 'what', stack: error.stack, code: 'E_WHAT' },
    cause: { name: 'TypeError', message: 'why', stack: cause.stack },
  }
  expect(stored({ error })).toEqual({ error: safe })
  expect(stored(error)).toEqual({ error: safe })
  const { events, logger } = listing()
  logger.error(error as unknown as string)
  expect(events[0].data).toEqual({ level: 'error', message: 'what', metadata: { error: safe } })
})

test('an endless chain of causes ends', () => {
  const error = new Error('round') as Error & { cause: unknown }
  error.cause = error
  expect(stored({ error })).toMatchObject({ error: { message: 'round', cause: '[circular]' } })
  let chain = new Error('0')
  for (let n = 1; n < 50; n++) chain = new Error(String(n), { cause: chain })
  expect(JSON.stringify(stored({ chain }))).toContain('[object]')
})

test('what JSON can not hold is replaced', () => {
  class Shape {
    sides = 3
    area() {}
  }
  const circular: Record<string, unknown> = {}
  circular.self = circular
  const twice = { n: 1 }
  expect(
    stored({
      big: 10n ** 30n,
      nan: Number.NaN,
      infinite: -Infinity,
      fn: function train() {},
      arrow: (() => () => {})(),
      symbol: Symbol('s'),
      missing: undefined,
      list: [undefined, () => {}, 1],
      map: new Map<unknown, unknown>([
        ['a', 1n],
        [{}, 2],
      ]),
      set: new Set([1, 'x']),
      date: new Date(0),
      noDate: new Date(Number.NaN),
      url: new URL('http://a/b'),
      bytes: Buffer.from('secret'),
      regexp: /x/g,
      promise: Promise.resolve(),
      shape: new Shape(),
      circular,
      twice: [twice, twice],
      bare: Object.assign(Object.create(null), { n: 1 }),
      lone: 'a\ud800b',
    }),
  ).toEqual({
    big: '1000000000000000000000000000000',
    nan: 'NaN',
    infinite: '-Infinity',
    fn: '[function train]',
    arrow: '[function without a name]',
    symbol: '[Symbol(s)]',
    list: [null, '[function without a name]', 1],
    map: { a: '1', '[object Object]': 2 },
    set: [1, 'x'],
    date: '1970-01-01T00:00:00.000Z',
    noDate: '[invalid date]',
    url: 'http://a/b',
    bytes: '[Buffer of 6 bytes]',
    regexp: '/x/g',
    promise: '[promise]',
    shape: { sides: 3 },
    circular: { self: '[circular]' },
    twice: [{ n: 1 }, { n: 1 }],
    bare: { n: 1 },
    lone: 'a\ufffdb',
  })
})

test('what fails when it is looked at is replaced', () => {
  const boom = () => {
    throw new Error('boom')
  }
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  expect(
    stored({
      getter: Object.defineProperty({}, 'x', { get: boom, enumerable: true }),
      json: { toJSON: boom },
      odd: {
        toJSON: () =>
          Object.defineProperty({}, 'x', {
            get: () => {
              throw Object.create(null)
            },
            enumerable: true,
          }),
      },
      error: Object.defineProperty(new Error('m'), 'stack', { get: boom }),
      proxy,
      fine: 1,
    }),
  ).toEqual({
    getter: '[unreadable: boom]',
    json: '[unreadable: boom]',
    odd: '[unreadable: it gives no reason]',
    error: '[unreadable: boom]',
    proxy: expect.stringContaining('[unreadable: '),
    fine: 1,
  })
  expect(stored(proxy)).toEqual({ value: expect.stringContaining('[unreadable: ') })
})

test('metadata that are no object are kept, too', () => {
  expect(stored(5)).toEqual({ value: 5 })
  expect(stored('text')).toEqual({ value: 'text' })
  expect(stored([1])).toEqual({ value: [1] })
  expect(stored(null)).toBeUndefined()
  expect(Object.entries(stored(JSON.parse('{"__proto__": 1}')))).toEqual([['__proto__', 1]])
})

test('what is too deep, too long or too many is cut', () => {
  let deep: unknown = 'bottom'
  for (let n = 0; n < 5000; n++) deep = n % 2 ? [deep] : { deep }
  expect(JSON.stringify(stored({ deep })).length).toBeLessThan(200)
  const long = stored({ text: 'x'.repeat(10_000_000), after: 1, more: 2 })
  expect(long.text).toMatch(/^x{60000,}…$/)
  expect(Object.values(long)).toContain('[cut off]')
  expect((stored({ many: Array.from({ length: 1e6 }, () => 1) }).many as unknown[]).length).toBeLessThan(10_000)
  const shared = Array.from({ length: 10 }, () => 'x')
  const wide = Array.from({ length: 7 }).reduce((inner) => Array.from({ length: 10 }, () => inner), shared as unknown)
  expect(JSON.stringify(stored({ wide })).length).toBeLessThan(200_000)

  const { events, logger } = listing()
  logger.info('😀'.repeat(1e6))
  expect(events[0].data.message.length).toBeLessThanOrEqual(1 << 15)
  expect(events[0].data.message.isWellFormed()).toBe(true)
})

test.each([
  [undefined, ''],
  [5, '5'],
  [null, 'null'],
  [{ a: 1n }, '{"a":"1"}'],
  [Symbol('s'), '[Symbol(s)]'],
  [new Error('m'), 'm'],
])('the message %s', (message, text) => {
  const { events, logger } = listing()
  logger.info(message as unknown as string)
  expect(events[0].data.message).toBe(text)
})

test('logging never throws', () => {
  const boom = () => {
    throw new Error('boom')
  }
  const { proxy: revoked, revoke } = Proxy.revocable({}, {})
  revoke()
  const traps = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor']
  const self: unknown[] = []
  self.push(self)
  const hostile = [
    ...[undefined, null, 1n, Number.NaN, Symbol('s'), boom, self, revoked],
    new Proxy({}, Object.fromEntries(traps.map((trap) => [trap, boom]))),
    new Proxy(boom, { apply: boom, get: boom }),
    Object.defineProperty(new Error('m'), 'message', { get: boom }),
    Object.defineProperty(new Error('m'), 'name', { get: boom }),
    Object.defineProperty([], 0, { get: boom, enumerable: true }),
    { toJSON: boom, toString: boom, valueOf: boom, [Symbol.toPrimitive]: boom },
    { toJSON: () => ({ toJSON: () => ({ toJSON: boom }) }) },
    new (class extends Map {
      override entries(): never {
        throw undefined
      }
    })(),
    new (class extends Date {
      override getTime = boom
    })(),
  ]
  const entries: LogEntry[] = []
  const { events, logger } = listing({ external: { level: 'debug', write: (entry) => entries.push(entry) } })
  // biome-ignore lint/suspicious/noExplicitAny: that is what it is about
  for (const any of hostile as any[]) {
    logger.log(any, any, any)
    logger.error(any)
    logger.child(any).info('m', { any, list: [any], [Symbol('key')]: any })
  }
  expect(events).toHaveLength(3 * hostile.length)
  expect(entries).toHaveLength(3 * hostile.length)
  expect(() => JSON.stringify([events, entries])).not.toThrow()
})

test('a store that fails at once does no harm', async () => {
  const logger = new RunLogger(
    {
      append: () => {
        throw new Error('at once')
      },
    },
    stream,
    envelope,
  )
  logger.info('m')
  await expect(logger.flush()).rejects.toThrow('at once')
})
