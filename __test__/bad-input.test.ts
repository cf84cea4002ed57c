/**
 * Bad input that only JavaScript can give, beside the scenarios of tests/conformance/bad-input.json: it gets a clear
 * error, and nothing is stored (P12: no input makes the process crash or hang).
 */

import { describe, expect, test } from 'vitest'
import { EventStore, type NewEvent, onDiagnostic, reduceRun, reduceState, type StoreOptions } from '../index.js'
import { VirtualClock } from '../testing.js'
import { collect, type Home, newStream, onEveryBackend } from './support/backends.js'
import { failure, refuses } from './support/failure.js'

/** Payloads that JSON can't hold, and what the message says of the place. Made anew for each use. */
const payloads: Record<string, [make: () => unknown, message: string]> = {
  'a cycle': [() => cyclic(), 'data.model.parent[1] '],
  'a cycle through toJSON': [() => cyclicByToJson(), 'data.written '],
  'a BigInt': [() => ({ a: { b: [0, 1n] } }), 'data.a.b[1] is a BigInt'],
  'a boxed BigInt': [() => [Object(1n)], 'BigInt'],
  'a function': [() => ({ 'on-click': () => {} }), 'data["on-click"] is a function'],
  'a function itself': [() => () => {}, 'data is a function'],
  'a class': [() => [class {}], 'data[0] is a function'],
  'a symbol': [() => ({ kind: Symbol('secret') }), 'data.kind is a symbol'],
  NaN: [() => ({ model: { weights: [0, 1, 2, Number.NaN] } }), 'data.model.weights[3] is NaN'],
  Infinity: [() => [[Number.NEGATIVE_INFINITY]], 'data[0][0] is -Infinity'],
  'a Map': [() => ({ tags: new Map([[1, 2]]) }), 'data.tags is a Map'],
  'a Set': [() => [new Set()], 'data[0] is a Set'],
  'nesting of 501 levels': [() => nested(501), 'nested deeper than 500'],
  'nesting of 100,000 levels': [() => ({ a: nested(100_000) }), 'nested deeper than 500'],
  'a toJSON that throws': [() => ({ at: { toJSON: () => fail('no date') } }), "data.at can't be read (no date)"],
  'a toJSON that gives a BigInt': [() => [{ toJSON: () => ({ id: 1n }) }], 'data[0].id is a BigInt'],
  'a toJSON that gives a function': [() => ({ f: { toJSON: () => fail } }), 'data.f is a function'],
  'a getter that throws': [
    () => ({
      a: [
        {
          get b() {
            return fail('no b')
          },
        },
      ],
    }),
    "data.a[0].b can't be read (no b)",
  ],
  'a getter that throws undefined': [
    () => ({
      get b() {
        throw undefined
      },
    }),
    'data.b',
  ],
  'a proxy that throws': [
    () => ({ p: new Proxy({}, { ownKeys: () => fail('trapped') }) }),
    "data.p can't be read (trapped)",
  ],
  'a proxy that is revoked': [() => [revoked()], "data[0] can't be read"],
  'an endless proxy': [() => endlessProxy(), 'nested deeper than 500'],
  'few objects that stand for billions': [() => shared(60), 'values'],
  'an array of four billion holes': [() => ({ a: new Array(2 ** 32 - 1) }), 'values'],
}

function cyclic(): unknown {
  const model: Record<string, unknown> = { name: 'm' }
  model.parent = [1, model]
  return { model }
}

function cyclicByToJson(): unknown {
  const whole: Record<string, unknown> = {}
  whole.written = { toJSON: () => whole }
  return whole
}

function nested(depth: number): unknown {
  let value: unknown = []
  for (let level = 1; level < depth; level++) value = [value]
  return value
}

function shared(levels: number): unknown {
  let value: unknown = 0
  for (let level = 0; level < levels; level++) value = [value, value]
  return value
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function endlessProxy(): unknown {
  const handler: ProxyHandler<object> = {
    get: (_target, name) => (typeof name === 'symbol' || name === 'toJSON' ? undefined : new Proxy({}, handler)),
    ownKeys: () => ['again'],
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
  }
  return new Proxy({}, handler)
}

function fail(message: string): never {
  throw new Error(message)
}

/** Checks that the backend holds no stream. */
async function expectNothingStored(store: EventStore): Promise<void> {
  expect(await collect(store.streams('*'))).toEqual([])
  expect(store.stats().appended).toBe(0)
}

/** Seconds that something can be kept for, and such that nothing can. */
const lives = { fine: [0.001, 0.25, 1, 1000 * 365 * 86_400, Number.POSITIVE_INFINITY], bad: [0, -0, Number.MIN_VALUE] }

// biome-ignore lint/suspicious/noExplicitAny: these tests pass what the types forbid
const anything = (value: unknown) => value as any

onEveryBackend('payloads that JSON can’t hold', (home) => {
  for (const [what, [make, message]] of Object.entries(payloads)) {
    test(what, async () => {
      const store = await home.open()
      const stream = newStream()
      const bad = () => anything({ type: 'note.added', data: make() })
      await refuses(() => store.append(stream, bad()), 'NQ_INVALID_EVENT', message)
      await refuses(() => store.append(stream, bad(), { idempotencyKey: 'k' }), 'NQ_INVALID_EVENT', message)
      const good: NewEvent = { type: 'state.set', data: { key: 'a', value: 1 } }
      await refuses(() => store.appendBatch(stream, [good, bad()]), 'NQ_INVALID_EVENT', message)
      await expectNothingStored(store)
    })
  }

  test('values of state, with the path that the caller wrote', async () => {
    const store = await home.open()
    const state = store.state(newStream())
    const bad = () => anything({ weights: [1, Number.NaN] })
    await refuses(() => state.set('w', bad()), 'NQ_INVALID_EVENT', 'value.weights[1] is NaN')
    await refuses(() => state.set('w', anything(undefined)), 'NQ_VALIDATION', 'undefined')
    await refuses(() => state.setBatch({ ok: 1, 'w.x': bad() }), 'NQ_INVALID_EVENT', 'values["w.x"].weights[1] is NaN')
    await refuses(() => state.patch('w', bad), 'NQ_INVALID_EVENT', 'weights[1] is NaN')
    await refuses(() => state.patch('w', () => undefined), 'NQ_VALIDATION', 'undefined')
    await expectNothingStored(store)
  })

  test('the cause is what the caller’s own code threw', async () => {
    const store = await home.open()
    const thrown = new RangeError('no b')
    const data = {
      get b(): never {
        throw thrown
      },
    }
    const error = await failure(() => store.append(newStream(), anything({ type: 'note.added', data })))
    expect(error.cause).toBe(thrown)
  })

  test('an event that can’t be read', async () => {
    const store = await home.open()
    const trapped = new Proxy({}, { ownKeys: () => fail('trapped') })
    await refuses(() => store.append(newStream(), anything(trapped)), 'NQ_INVALID_EVENT', 'trapped')
    const getter = {
      type: 'note.added',
      get runId() {
        return fail('no run')
      },
    } // prettier-ignore
    await refuses(() => store.append(newStream(), anything(getter)), 'NQ_INVALID_EVENT', 'no run')
    await expectNothingStored(store)
  })
})

onEveryBackend('payloads that JSON can hold after all', (home) => {
  test('what JSON.stringify writes is what is stored', async () => {
    const store = await home.open()
    class Loss {
      constructor(readonly value: number) {}
      toJSON() {
        return this
      }
    }
    const once = {
      seen: 1,
      toJSON() {
        return { ...this }
      },
    } // prettier-ignore
    const twin = { a: 1 }
    const values = [
      new Date(0),
      new URL('http://localhost/a'),
      Buffer.from('ab'),
      new Loss(3),
      once,
      Object.create({ inherited() {} }, { own: { value: 1, enumerable: true } }),
      new Proxy({ a: [1] }, {}),
      { gone: undefined, kept: [undefined] },
      [twin, twin],
      { [Symbol('passed over')]: 1n },
      nested(499),
    ]
    const stream = newStream()
    for (const data of values) await store.append(stream, anything({ type: 'note.added', data }))
    const stored = await store.query({ stream })
    expect(stored.map((record) => record.data)).toEqual(JSON.parse(JSON.stringify(values)))
  })
})

/** A call with one argument replaced; `allowed`: what is no mistake there. */
interface Position {
  name: string
  call: (store: EventStore, bad: never) => unknown
  allowed?: unknown[]
}

const note = anything({ type: 'note.added', data: 1 })
const record = anything({ id: '1-0', stream: 's', timestamp: '1970-01-01T00:00:00.001Z', type: 'note.added' })

const positions: Position[] = [
  { name: 'append(stream)', call: (store, bad) => store.append(bad, note) },
  { name: 'append(event)', call: (store, bad) => store.append('s', bad) },
  { name: 'append(options)', call: (store, bad) => store.append('s', note, bad), allowed: [undefined] },
  { name: 'appendBatch(stream)', call: (store, bad) => store.appendBatch(bad, [note]) },
  { name: 'appendBatch(events)', call: (store, bad) => store.appendBatch('s', bad) },
  { name: 'appendBatch(event)', call: (store, bad) => store.appendBatch('s', [note, bad]) },
  { name: 'appendBatch(options)', call: (store, bad) => store.appendBatch('s', [note], bad), allowed: [undefined] },
  { name: 'query(query)', call: (store, bad) => store.query(bad) },
  { name: 'query(stream)', call: (store, bad) => store.query({ stream: bad }) },
  { name: 'queryText(query)', call: (store, bad) => store.queryText(bad) },
  { name: 'queryGlobal(query)', call: (store, bad) => store.queryGlobal(bad) },
  { name: 'queryGlobal(pattern)', call: (store, bad) => store.queryGlobal({ pattern: bad }) },
  {
    name: 'queryGlobal(filter)',
    call: (store, bad) => store.queryGlobal({ pattern: '*', filter: bad }),
    allowed: [undefined],
  },
  { name: 'iterate(query)', call: (store, bad) => collect(store.iterate(bad)) },
  { name: 'iterate(stream)', call: (store, bad) => collect(store.iterate({ stream: bad })) },
  { name: 'iterate(pattern)', call: (store, bad) => collect(store.iterate({ pattern: bad })) },
  { name: 'subscribe(target)', call: (store, bad) => store.subscribe(bad, () => {}) },
  { name: 'subscribe(handler)', call: (store, bad) => store.subscribe('s', bad) },
  { name: 'subscribe(options)', call: (store, bad) => store.subscribe('s', () => {}, bad), allowed: [undefined] },
  {
    name: 'subscribe(onError)',
    call: (store, bad) => store.subscribe('s', () => {}, { onError: bad }),
    allowed: [undefined],
  },
  {
    name: 'subscribe(onCaughtUp)',
    call: (store, bad) => store.subscribe('s', () => {}, { onCaughtUp: bad }),
    allowed: [undefined],
  },
  { name: 'streams(pattern)', call: (store, bad) => collect(store.streams(bad)) },
  { name: 'deleteStream(stream)', call: (store, bad) => store.deleteStream(bad) },
  { name: 'deleteStreams(pattern)', call: (store, bad) => store.deleteStreams(bad) },
  { name: 'indexAdd(key)', call: (store, bad) => store.indexAdd(bad, 'a', 1) },
  { name: 'indexAdd(id)', call: (store, bad) => store.indexAdd('k', bad, 1) },
  { name: 'indexAdd(score)', call: (store, bad) => store.indexAdd('k', 'a', bad), allowed: [5] },
  { name: 'indexRead(key)', call: (store, bad) => store.indexRead(bad) },
  { name: 'indexRead(options)', call: (store, bad) => store.indexRead('k', bad), allowed: [undefined] },
  {
    name: 'indexRead(offset)',
    call: (store, bad) => store.indexRead('k', { offset: bad }),
    allowed: [undefined, 5],
  },
  { name: 'indexRead(limit)', call: (store, bad) => store.indexRead('k', { limit: bad }), allowed: [undefined, 5] },
  { name: 'indexDelete(key)', call: (store, bad) => store.indexDelete(bad) },
  { name: 'state(runId)', call: (store, bad) => store.state(bad) },
  { name: 'state(envelope)', call: (store, bad) => store.state('r', bad), allowed: [undefined] },
  {
    name: 'state(stepName)',
    call: (store, bad) => store.state('r', { stepName: bad }),
    allowed: [undefined],
  },
  { name: 'state.get(key)', call: (store, bad) => store.state('r').get(bad) },
  { name: 'state.get(options)', call: (store, bad) => store.state('r').get('k', bad), allowed: [undefined] },
  { name: 'state.getAll(options)', call: (store, bad) => store.state('r').getAll(bad), allowed: [undefined] },
  { name: 'state.has(key)', call: (store, bad) => store.state('r').has(bad) },
  { name: 'state.has(options)', call: (store, bad) => store.state('r').has('k', bad), allowed: [undefined] },
  { name: 'state.set(key)', call: (store, bad) => store.state('r').set(bad, 1) },
  { name: 'state.set(options)', call: (store, bad) => store.state('r').set('k', 1, bad), allowed: [undefined] },
  { name: 'state.delete(key)', call: (store, bad) => store.state('r').delete(bad) },
  { name: 'state.setBatch(values)', call: (store, bad) => store.state('r').setBatch(bad) },
  { name: 'state.patch(key)', call: (store, bad) => store.state('r').patch(bad, () => 1) },
  { name: 'state.patch(update)', call: (store, bad) => store.state('r').patch('k', bad) },
  { name: 'state.list(prefix)', call: (store, bad) => store.state('r').list(bad), allowed: [undefined] },
  { name: 'state.list(options)', call: (store, bad) => store.state('r').list('', bad), allowed: [undefined] },
  {
    name: 'state.list(consistency)',
    call: (store, bad) => store.state('r').list('', { consistency: bad }),
    allowed: [undefined],
  },
  { name: 'state.at(point)', call: (store, bad) => store.state('r').at(bad), allowed: [5] },
  { name: 'state.history(key)', call: (store, bad) => store.state('r').history(bad), allowed: [undefined] },
  { name: 'state.diff(a)', call: (store, bad) => store.state('r').diff(bad, 1), allowed: [5] },
  { name: 'state.diff(b)', call: (store, bad) => store.state('r').diff(1, bad), allowed: [5] },
  { name: 'reduceState(events)', call: (_store, bad) => reduceState(bad) },
  { name: 'reduceState(event)', call: (_store, bad) => reduceState([record, bad]) },
  { name: 'reduceState(options)', call: (_store, bad) => reduceState([record], bad), allowed: [undefined] },
  { name: 'reduceRun(events)', call: (_store, bad) => reduceRun(bad) },
  { name: 'reduceRun(event)', call: (_store, bad) => reduceRun([record, bad]) },
  { name: 'onDiagnostic(callback)', call: (_store, bad) => onDiagnostic(bad) },
  { name: 'onDiagnostic(options)', call: (_store, bad) => onDiagnostic(() => {}, bad), allowed: [undefined] },
  {
    name: 'onDiagnostic(level)',
    call: (_store, bad) => onDiagnostic(() => {}, { level: bad }),
    allowed: [undefined],
  },
  { name: 'new VirtualClock(start)', call: (_store, bad) => new VirtualClock(bad), allowed: [undefined, 5] },
  { name: 'clock.advance(by)', call: (_store, bad) => new VirtualClock().advance(bad), allowed: [5] },
  { name: 'clock.set(to)', call: (_store, bad) => new VirtualClock().set(bad), allowed: [5] },
]

const wrong = [null, undefined, 5, Number.NaN, true, 1n, Symbol('s')]

onEveryBackend('arguments of a wrong type', (home) => {
  for (const { name, call, allowed = [] } of positions) {
    test(name, async () => {
      const store = await home.open()
      for (const bad of wrong.filter((value) => !allowed.includes(value))) {
        await refuses(() => call(store, bad as never), ['NQ_VALIDATION', 'NQ_INVALID_EVENT'])
      }
      await expectNothingStored(store)
      expect(await store.indexRead('k')).toEqual([])
    })
  }

  test('EventStore.open(options)', async () => {
    for (const bad of wrong.filter((value) => value !== undefined)) {
      await refuses(() => EventStore.open(anything(bad)), 'NQ_CONFIG')
      await refuses(() => home.open({ redis: anything(bad) }), 'NQ_CONFIG')
      await refuses(() => home.open({ limits: anything(bad) }), 'NQ_CONFIG')
      await refuses(() => home.open({ cache: anything(bad) }), 'NQ_CONFIG', 'cache is')
      await refuses(() => home.open({ cache: { ttl: anything(bad) } }), 'NQ_CONFIG', 'cache.ttl is')
      await refuses(() => home.open({ retention: anything(bad) }), 'NQ_CONFIG', 'retention is')
      await refuses(() => home.open({ retention: { logs: anything(bad) } }), 'NQ_CONFIG', 'retention.logs is')
      await refuses(() => home.open({ clock: anything(bad) }), 'NQ_CONFIG', 'clock')
      await refuses(() => home.open({ adapter: anything(bad) }), 'NQ_CONFIG', 'adapter')
      await refuses(() => home.open({ prefix: anything(bad) }), 'NQ_CONFIG', 'prefix')
    }
  })
})

onEveryBackend('members that don’t exist', (home) => {
  const known: Array<
    [
      what: string,
      call: (home: Home, store: EventStore) => unknown,
      code: 'NQ_CONFIG' | 'NQ_VALIDATION' | 'NQ_INVALID_EVENT',
    ]
  > = [
    ['option', (home) => home.open(anything({ typo: 1 })), 'NQ_CONFIG'],
    ['limit', (home) => home.open({ limits: anything({ typo: 1 }) }), 'NQ_CONFIG'],
    ['cache option', (home) => home.open({ cache: anything({ typo: 1 }) }), 'NQ_CONFIG'],
    ['cached life', (home) => home.open({ cache: { ttl: anything({ typo: 1 }) } }), 'NQ_CONFIG'],
    ['retention option', (home) => home.open({ retention: anything({ typo: 1 }) }), 'NQ_CONFIG'],
    ['log retention option', (home) => home.open({ retention: { logs: anything({ typo: 1 }) } }), 'NQ_CONFIG'],
    ['redis option', () => EventStore.open({ adapter: 'redis', redis: anything({ typo: 1 }) }), 'NQ_CONFIG'],
    ['tls option', () => EventStore.open({ adapter: 'redis', redis: { tls: anything({ typo: 1 }) } }), 'NQ_CONFIG'],
    ['event', (_home, store) => store.append('s', { ...note, typo: 1 }), 'NQ_INVALID_EVENT'],
    ['append option', (_home, store) => store.append('s', note, anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['batch option', (_home, store) => store.appendBatch('s', [note], anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['query', (_home, store) => store.query(anything({ stream: 's', typo: 1 })), 'NQ_VALIDATION'],
    ['global query', (_home, store) => store.queryGlobal(anything({ pattern: '*', typo: 1 })), 'NQ_VALIDATION'],
    ['iteration', (_home, store) => collect(store.iterate(anything({ stream: 's', typo: 1 }))), 'NQ_VALIDATION'],
    ['subscription', (_home, store) => store.subscribe('s', () => {}, anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['index option', (_home, store) => store.indexRead('k', anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['envelope', (_home, store) => store.state('r', anything({ typo: 1 })), 'NQ_INVALID_EVENT'],
    ['set option', (_home, store) => store.state('r').set('k', 1, anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['get option', (_home, store) => store.state('r').get('k', anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['getAll option', (_home, store) => store.state('r').getAll(anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['has option', (_home, store) => store.state('r').has('k', anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['list option', (_home, store) => store.state('r').list('', anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['diagnostic option', () => onDiagnostic(() => {}, anything({ typo: 1 })), 'NQ_VALIDATION'],
    ['reduceState option', () => reduceState([], anything({ typo: 1 })), 'NQ_VALIDATION'],
  ]
  test.each(known)('%s', async (_what, call, code) => {
    const store = await home.open()
    await refuses(() => call(home, store), code, 'typo')
    await expectNothingStored(store)
  })
})

onEveryBackend('numbers and dates that are none', (home) => {
  const { NaN: none, POSITIVE_INFINITY: infinity } = Number

  test('limits', async () => {
    const store = await home.open()
    for (const limit of [none, infinity, 2 ** 53, -0]) {
      await refuses(() => store.query({ stream: 's', limit }), 'NQ_VALIDATION', 'limit')
      await refuses(() => store.queryText({ stream: 's', limit }), 'NQ_VALIDATION', 'limit')
      await refuses(() => store.queryGlobal({ pattern: '*', limit }), 'NQ_VALIDATION', 'limit')
      await refuses(() => store.queryGlobal({ pattern: '*', limit, filter: () => true }), 'NQ_VALIDATION', 'limit')
      await refuses(() => collect(store.iterate({ stream: 's', limit })), 'NQ_VALIDATION', 'limit')
      await refuses(() => store.indexRead('k', { limit }), 'NQ_VALIDATION', 'limit')
    }
  })

  test('times and points', async () => {
    const store = await home.open()
    const state = store.state('r')
    for (const time of [none, infinity, new Date(none)]) {
      await refuses(() => store.query({ stream: 's', startTime: time }), 'NQ_VALIDATION', 'startTime')
      await refuses(() => store.query({ stream: 's', endTime: time }), 'NQ_VALIDATION', 'endTime')
      await refuses(() => state.at(time), 'NQ_VALIDATION', 'point')
      await refuses(() => state.diff(0, time), 'NQ_VALIDATION', 'b is')
      await refuses(() => reduceState([record], { at: time }), 'NQ_VALIDATION', 'at is')
      await refuses(() => new VirtualClock(time), 'NQ_VALIDATION', 'start')
    }
  })

  test('scores, offsets and lives', async () => {
    const store = await home.open()
    for (const bad of [none, infinity, -infinity]) {
      await refuses(() => store.indexAdd('k', 'a', bad), 'NQ_VALIDATION', 'score')
      await refuses(() => store.indexRead('k', { offset: bad }), 'NQ_VALIDATION', 'offset')
      await refuses(() => store.state('r').set('k', 1, { ttl: bad }), 'NQ_VALIDATION', 'ttl')
    }
    expect(await store.indexRead('k')).toEqual([])
    await expectNothingStored(store)
  })
})

describe('lives, sizes and counts of the options', () => {
  const { NaN: none, POSITIVE_INFINITY: infinity } = Number
  /** Each option, and what is no mistake there. */
  const options: Array<[name: string, set: (value: never) => StoreOptions, fine: unknown[], bad: unknown[]]> = [
    ...['active', 'completed', 'failed'].flatMap((status): typeof options => [
      [`cache.ttl.${status}`, (value) => ({ cache: { ttl: { [status]: value } } }), lives.fine, lives.bad],
      [`retention.${status}`, (value) => ({ retention: { [status]: value } }), lives.fine, lives.bad],
    ]),
    ['retention.logs.maxAge', (maxAge) => ({ retention: { logs: { maxAge } } }), lives.fine, lives.bad],
    ['retention.logs.maxBytes', (maxBytes) => ({ retention: { logs: { maxBytes } } }), [1, infinity], [0]],
    ['cache.maxBytes', (maxBytes) => ({ cache: { maxBytes } }), [1, 2 ** 53 - 1], [0, infinity]],
    ['cache.enabled', (enabled) => ({ cache: { enabled } }), [true, false], [0, 1]],
    ['snapshotEvery', (snapshotEvery) => ({ snapshotEvery }), [0, -0, 1, 2 ** 53 - 1], [infinity]],
  ]
  test.each(options)('%s', async (name, set, fine, bad) => {
    for (const value of [undefined, ...fine]) await (await EventStore.open(set(value as never))).close()
    for (const value of [...bad, -1, 0.5e-3, 2 ** 53, none, -infinity, null, '1', 'Infinity', 1n, {}, [1]]) {
      await refuses(() => EventStore.open(set(value as never)), 'NQ_CONFIG', `${name} is`)
    }
  })
})

describe('what a caller’s function does', () => {
  test('a patch that gives a promise is refused, and the promise’s failure harms nothing', async () => {
    const store = await EventStore.open()
    const state = store.state('r')
    const unhandled: unknown[] = []
    const listener = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', listener)
    const update = anything(async () => fail('too late'))
    await refuses(() => state.patch('k', update), 'NQ_VALIDATION', 'promise')
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
    expect(await state.getAll()).toEqual({})
    await store.close()
  })

  test('what it throws comes back unchanged', async () => {
    const store = await EventStore.open()
    await store.append('s', note)
    const thrown = new RangeError('mine')
    const throwing = () => {
      throw thrown
    }
    await expect(store.queryGlobal({ pattern: '*', filter: throwing })).rejects.toBe(thrown)
    await expect(collect(store.iterate({ pattern: '*', filter: throwing }))).rejects.toBe(thrown)
    await expect(store.state('r').patch('k', throwing)).rejects.toBe(thrown)
    expect(await store.state('r').getAll()).toEqual({})
    await store.close()
  })
})
