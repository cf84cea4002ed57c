/**
 * How long runs are kept: in memory by a virtual clock, on Redis by what the server says of its keys and by short lives.
 * The memory backend shows when a run goes, Redis that nobody can prolong what has ended.
 */

import { describe, expect, onTestFinished, test } from 'vitest'
import { type AppendOptions, EventStore, type NewEvent, type StoreOptions } from '../index.js'
import { VirtualClock } from '../testing.js'
import { newStream, onRedis } from './support/backends.js'
import { randomFrom } from './support/random.js'
import { command, until } from './support/redis.js'
import { event, isKept, log, streamOf } from './support/run-events.js'

const LIVES = { active: 60, completed: 20, failed: 40 }
const YEARS = '3650d'

const ENDS = [
  ['flow.completed', LIVES.completed],
  ['flow.canceled', LIVES.completed],
  ['flow.failed', LIVES.failed],
] as const

describe('lives of runs in memory', () => {
  const stream = streamOf('r')

  async function open(options: StoreOptions = {}) {
    const clock = new VirtualClock('2025-11-05T10:00:00Z')
    const store = await EventStore.open({ clock, retention: LIVES, ...options })
    onTestFinished(() => store.close())
    const inSeconds = (seconds: number) => new Date(clock.now() + seconds * 1000).toISOString()
    return { clock, store, inSeconds }
  }

  test('a run that goes on is kept so long after its last event, and not much longer', async () => {
    const { clock, store } = await open()
    const random = randomFrom(7)
    await store.append(stream, event('flow.started'))
    for (let count = 1; count < 200; count++) {
      clock.advance(random.upTo(60_000))
      expect(await store.query({ stream })).toHaveLength(count)
      await store.append(stream, event('note.added'))
    }
    clock.advance('59.9s')
    expect(await isKept(store, stream)).toBe(true)
    clock.advance('6.2s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test.each(ENDS)('%s: kept for %i s from then on, exactly', async (type, seconds) => {
    const { clock, store } = await open()
    await store.append(stream, event('flow.started'))
    clock.advance('30s')
    await store.append(stream, event(type, { error: 'x' }))
    clock.advance(seconds * 1000 - 1)
    expect(await isKept(store, stream)).toBe(true)
    clock.advance(2)
    expect(await isKept(store, stream)).toBe(false)
  })

  test('an end may be remembered for longer than the run itself would have been', async () => {
    const { clock, store } = await open({ retention: { ...LIVES, completed: 600 } })
    await store.append(stream, event('flow.started'))
    await store.append(stream, event('flow.completed'))
    clock.advance('599s')
    expect(await isKept(store, stream)).toBe(true)
    clock.advance('2s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test('what comes after the end does not prolong it', async () => {
    const { clock, store, inSeconds } = await open()
    await store.append(stream, event('flow.started'))
    await store.append(stream, event('flow.completed'))
    clock.advance('10s')
    await store.append(stream, log('late'))
    await store.state('r').set('late', 1)
    await store.append(stream, event('trigger.awaiting', { awaitId: 'late', deadline: inSeconds(9999) }))
    clock.advance('9s')
    await store.append(stream, event('flow.failed', { error: 'too late' }))
    expect(await store.query({ stream })).toHaveLength(6)
    clock.advance('1.1s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test('a run of this name that begins anew has nothing of the old one', async () => {
    const { clock, store } = await open()
    await store.state('r').set('old', 1)
    await store.append(stream, event('flow.completed'))
    expect(await store.state('r').getAll()).toEqual({ old: 1 })
    clock.advance('21s')
    expect(await store.state('r').getAll()).toEqual({})
    expect(await store.state('r').history()).toEqual([])
    await store.append(stream, event('flow.started'))
    expect(await store.state('r').getAll()).toEqual({})
    clock.advance('59s')
    expect(await store.query({ stream })).toHaveLength(1)
    clock.advance('8s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test('a run is kept until the last deadline of what it waits for', async () => {
    const { clock, store, inSeconds } = await open()
    await store.append(stream, event('flow.started'))
    const awaiting = (awaitId: string, seconds: number) =>
      store.append(stream, event('trigger.awaiting', { awaitId, deadline: inSeconds(seconds) }))
    await awaiting('short', 90)
    await awaiting('long', 3600)
    await awaiting('middle', 600)
    await store.append(stream, event('trigger.resolved', { awaitId: 'short' }))
    clock.advance('3599s')
    expect(await isKept(store, stream)).toBe(true)
    clock.advance('400s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test('a deadline that is near is no reason to go earlier', async () => {
    const { clock, store, inSeconds } = await open()
    await store.append(stream, event('trigger.awaiting', { awaitId: 'a', deadline: inSeconds(1) }))
    clock.advance('59s')
    expect(await isKept(store, stream)).toBe(true)
  })

  test('a run that waits without a deadline is kept until it ends', async () => {
    const { clock, store } = await open()
    await store.append(stream, event('trigger.awaiting', { awaitId: 'a' }))
    clock.advance(YEARS)
    expect(await isKept(store, stream)).toBe(true)
    await store.append(stream, event('flow.canceled'))
    clock.advance('20.1s')
    expect(await isKept(store, stream)).toBe(false)
  })

  test('by default a run is kept while it goes on, then for 7 days, or for 30 if it failed', async () => {
    const { clock, store } = await open({ retention: undefined })
    for (const run of ['going', 'good', 'bad']) await store.append(streamOf(run), event('flow.started'))
    clock.advance(YEARS)
    await store.append(streamOf('good'), event('flow.completed'))
    await store.append(streamOf('bad'), event('flow.failed', { error: 'x' }))
    const kept = async () => {
      const runs = ['going', 'good', 'bad']
      const found = await Promise.all(runs.map((run) => isKept(store, streamOf(run))))
      return runs.filter((_, index) => found[index])
    }
    clock.advance('6.9d')
    expect(await kept()).toEqual(['going', 'good', 'bad'])
    clock.advance('0.2d')
    expect(await kept()).toEqual(['going', 'bad'])
    clock.advance('22.8d')
    expect(await kept()).toEqual(['going', 'bad'])
    clock.advance('0.2d')
    expect(await kept()).toEqual(['going'])
  })

  test('Infinity keeps what has ended', async () => {
    const { clock, store } = await open({ retention: { completed: Number.POSITIVE_INFINITY } })
    await store.append(stream, event('flow.completed'))
    clock.advance(YEARS)
    expect(await isKept(store, stream)).toBe(true)
  })

  test('streams that are no runs are kept', async () => {
    const { clock, store } = await open({ prefix: 'app' })
    const others = ['orders:1', 'nq:flow:r', 'app:registry', 'app:flows:r']
    for (const other of others) await store.append(other, event('flow.completed'))
    await store.append('app:flow:r', event('flow.completed'))
    clock.advance(YEARS)
    for (const other of others) expect(await isKept(store, other)).toBe(true)
    expect(await isKept(store, 'app:flow:r')).toBe(false)
  })

  test('an index forgets the runs that are gone, when it is read', async () => {
    const { clock, store } = await open()
    const append = (runId: string, type: string) =>
      store.append(streamOf(runId), { ...event(type), runId, flowName: 'fit' } as NewEvent)
    for (let n = 0; n < 20; n++) {
      await append(`r${n}`, 'flow.started')
      await store.indexAdd('nq:flows:fit', `r${n}`, clock.now())
      await store.indexAdd('mine', `r${n}`, clock.now())
      if (n % 2 === 0) await append(`r${n}`, 'flow.completed')
      clock.advance(1)
    }
    const ids = async (key: string, options = {}) => (await store.indexRead(key, options)).map(({ id }) => id)
    expect(await ids('nq:flows:fit')).toHaveLength(20)
    clock.advance('21s')
    const odd = Array.from({ length: 10 }, (_, n) => `r${19 - 2 * n}`)
    expect(await ids('nq:flows:fit', { limit: 5 })).toEqual(odd.slice(0, 5))
    expect(await ids('nq:flows:fit')).toEqual(odd)
    clock.advance('60s')
    expect(await ids('nq:flows:fit')).toEqual([])
    expect(await ids('mine')).toHaveLength(20)
  })
})

onRedis('lives of runs', (home) => {
  const pttl = (stream: string) => command(home.server, 'PTTL', stream) as Promise<number>

  /** Whether a key has no end that anyone will see. */
  async function isForEver(stream: string): Promise<boolean> {
    const left = await pttl(stream)
    return left === -1 || left > 50 * 365 * 86_400_000
  }

  /** Waits until a key has this life: at most so many seconds, and hardly less. */
  async function lives(stream: string, seconds: number, slack = 5): Promise<void> {
    let left = 0
    const isSo = async () => {
      left = await pttl(stream)
      return left <= seconds * 1000 && left > (seconds - slack) * 1000
    }
    await until(isSo, `a life of ${seconds} s`, 3000).catch((error) => {
      throw new Error(`${error.message}; it is ${left} ms`)
    })
  }

  const fresh = () => {
    const run = newStream()
    return { run, stream: streamOf(run) }
  }

  test('a run that goes on lives for its time and a tenth', async () => {
    const store = await home.open({ retention: LIVES })
    const { run, stream } = fresh()
    await store.state(run).set('a', 1)
    await lives(stream, 66)
    expect(await pttl(stream)).toBeGreaterThan(60_000)
  })

  test.each(ENDS)('%s: it lives for %i s', async (type, seconds) => {
    const store = await home.open({ retention: LIVES })
    const { stream } = fresh()
    await store.append(stream, event('flow.started'))
    await lives(stream, 66)
    await store.append(stream, event(type, { error: 'x' }))
    await lives(stream, seconds)
  })

  test('an end within a batch, with a condition, with a key', async () => {
    const store = await home.open({ retention: LIVES })
    const streams = Array.from({ length: 3 }, () => fresh().stream)
    await store.appendBatch(streams[0] as string, [event('flow.started'), event('flow.completed'), log('bye')])
    await store.append(streams[1] as string, event('flow.completed'), { expectedLastId: '0-0' })
    await store.append(streams[2] as string, event('flow.completed'), { idempotencyKey: 'k' })
    for (const stream of streams) await lives(stream, LIVES.completed)
  })

  test('by default: for ever, 7 days, 30 days', async () => {
    const store = await home.open()
    const [going, good, bad] = [fresh().stream, fresh().stream, fresh().stream]
    for (const stream of [going, good, bad]) await store.append(stream, event('flow.started'))
    await store.append(good, event('flow.completed'))
    await store.append(bad, event('flow.failed', { error: 'x' }))
    await lives(good, 7 * 86_400)
    await lives(bad, 30 * 86_400)
    expect(await isForEver(going)).toBe(true)
  })

  test('nobody prolongs what has ended, whether they know of it or not', async () => {
    const [one, early] = [await home.open({ retention: LIVES }), await home.open({ retention: LIVES })]
    const { run, stream } = fresh()
    await early.append(stream, event('flow.started'))
    await one.append(stream, event('flow.completed'))
    await lives(stream, LIVES.completed)
    // A store that has not seen this run yet would set a life at its first event.
    const late = await home.open({ retention: { ...LIVES, active: 999 } })
    for (const store of [one, early, late]) {
      await store.append(stream, log('late'))
      await store.state(run).set('late', 1)
      await store.append(stream, event('trigger.awaiting', { awaitId: 'a' }))
      await store.append(stream, event('trigger.awaiting', { awaitId: 'b', deadline: '2099-01-01T00:00:00Z' }))
    }
    await Promise.all([one, early, late].map((store) => store.close()))
    await lives(stream, LIVES.completed)
  })

  test('an end among the appends of others is an end', async () => {
    const stores = await Promise.all([1, 2, 3].map(() => home.open({ retention: LIVES })))
    const streams = Array.from({ length: 30 }, () => fresh().stream)
    await Promise.all(
      streams.flatMap((stream, n) =>
        stores.map((store, k) => store.append(stream, k === n % 3 ? event('flow.completed') : log('beside'))),
      ),
    )
    await Promise.all(stores.map((store) => store.close()))
    for (const stream of streams) await lives(stream, LIVES.completed)
  })

  test('a lost connection loses no end', async () => {
    const store = await home.open({ retention: LIVES })
    for (let n = 0; n < 5; n++) {
      const { stream } = fresh()
      await store.append(stream, event('flow.started'))
      const end = store.append(stream, event('flow.completed'))
      await Promise.all([end, command(home.server, 'CLIENT', 'KILL', 'TYPE', 'normal')])
      await lives(stream, LIVES.completed)
    }
  })

  test('deadlines', async () => {
    const store = await home.open({ retention: LIVES })
    const [with_, without] = [fresh().stream, fresh().stream]
    const deadline = new Date(Date.now() + 3_600_000).toISOString()
    await store.append(with_, event('trigger.awaiting', { awaitId: 'a', deadline }))
    await until(async () => (await pttl(with_)) > 3_590_000, 'a life of an hour')
    await store.append(with_, event('trigger.resolved', { awaitId: 'a' }))
    await store.append(with_, event('note.added'))
    expect(await pttl(with_)).toBeGreaterThan(3_590_000)
    await store.append(without, event('flow.started'))
    await lives(without, 66)
    await store.append(without, event('trigger.awaiting', { awaitId: 'a' }))
    await until(async () => await isForEver(without), 'no end')
    for (const stream of [with_, without]) {
      await store.append(stream, event('flow.completed'))
      await lives(stream, LIVES.completed)
    }
  })

  test('streams that are no runs are kept', async () => {
    const store = await home.open({ retention: LIVES })
    const stream = newStream()
    await store.append(stream, event('flow.completed'))
    await store.close()
    expect(await pttl(stream)).toBe(-1)
  })

  test('a run renews its life now and then, not with every event', async () => {
    const store = await home.open({ retention: { active: 3600 }, snapshotEvery: 0 })
    const { stream } = fresh()
    await command(home.server, 'CONFIG', 'RESETSTAT')
    for (let n = 0; n < 5000; n += 100) {
      await Promise.all(Array.from({ length: 100 }, () => store.append(stream, event('note.added'))))
    }
    const calls = await callsOf(/^(p?expire(at)?|eval(sha)?(_ro)?|fcall|persist|p?ttl)$/)
    expect(calls).toBeGreaterThan(0)
    expect(calls).toBeLessThan(20)
    await lives(stream, 3960)
  })

  /** How often commands of these names were called since the last reset. */
  async function callsOf(names: RegExp): Promise<number> {
    const stats = String(await command(home.server, 'INFO', 'commandstats'))
    const lines = [...stats.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)]
    return lines.filter(([, name]) => names.test(name as string)).reduce((sum, [, , calls]) => sum + Number(calls), 0)
  }
})

onRedis('runs that are gone', (home) => {
  test('leave no key behind, no state and no place in the index', async () => {
    const store = await home.open({ retention: { active: 2, completed: 0.4, failed: 0.4 } })
    const reader = await home.open()
    const runs = Array.from({ length: 6 }, newStream)
    const append = (runId: string, type: string, options?: AppendOptions) =>
      store.append(streamOf(runId), { ...event(type), runId, flowName: 'fit' } as NewEvent, options)
    for (const run of runs) {
      await append(run, 'flow.started', { expectedLastId: '0-0' })
      await store.state(run).set('a', 1)
      await store.indexAdd('nq:flows:fit', run, Date.now())
    }
    const [going, ...ended] = runs as [string, ...string[]]
    for (const run of runs) expect(await reader.state(run).getAll()).toEqual({ a: 1 })
    for (const run of ended) await append(run, 'flow.completed')

    const count = async (pattern: string) => ((await command(home.server, 'KEYS', pattern)) as string[]).length
    await until(async () => (await count('nq:flow:*')) <= 1, 'the ended runs to be gone')
    for (const run of ended) {
      expect(await isKept(store, streamOf(run))).toBe(false)
      expect(await store.state(run).getAll()).toEqual({})
      await until(async () => Object.keys(await reader.state(run).getAll()).length === 0, 'the other store to see it')
    }
    // While it goes on, it is renewed.
    await append(going, 'note.added')
    expect((await store.indexRead('nq:flows:fit')).map(({ id }) => id)).toEqual([going])
    expect(await command(home.server, 'ZRANGE', 'nq:flows:fit', 0, -1)).toEqual([going])
    await until(async () => (await count('*flow:*')) === 0, 'the last run to be gone')
    expect(await store.indexRead('nq:flows:fit')).toEqual([])
    await until(async () => (await count('*')) === 0, 'all keys to be gone')
  })
})
