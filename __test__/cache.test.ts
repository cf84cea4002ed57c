/** Runs in memory: what a cached read costs, what it may miss, and that whatever changes a stream is seen. */

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { EventStore, type RunState, type StoreStats } from '../index.js'
import { newStream, onEveryBackend, onRedis } from './support/backends.js'
import { runCode } from './support/child.js'
import { command, connect, startRedis, until } from './support/redis.js'
import { event, streamOf } from './support/run-events.js'
import { Wire } from './support/wire.js'

/** How late another writer's event may be seen by a cached read, in milliseconds. */
const DELAY = 250

/** What has changed in the statistics since. */
function since(store: EventStore, before: StoreStats): StoreStats {
  const now = store.stats()
  const names = Object.keys(now) as Array<keyof StoreStats>
  return Object.fromEntries(names.map((name) => [name, now[name] - before[name]])) as unknown as StoreStats
}

onEveryBackend('cached state', (home) => {
  /** Events that a read looks at to know that nothing has changed; in memory that costs nothing. */
  const lookAgain = home.name === 'memory' ? 1 : 0

  test('own writes are in it at once, and it is not read anew for them', async () => {
    const store = await home.open()
    const state = store.state(newStream())
    await state.set('n', -1)
    await state.getAll()
    const before = store.stats()
    for (let n = 0; n < 3000; n++) {
      await state.set('n', n)
      expect(await state.get('n')).toBe(n)
    }
    const { misses, hits, invalidations, eventsRead } = since(store, before)
    expect({ misses, invalidations }).toEqual({ misses: 0, invalidations: 0 })
    expect(hits).toBeGreaterThan(1500)
    // Each event, and perhaps the one before it; never the run.
    expect(eventsRead).toBeLessThan(10_000)
  })

  test('own writes of every kind, awaited or not', async () => {
    const store = await home.open({ snapshotEvery: 10 })
    const state = store.state(newStream())
    const expected: Record<string, unknown> = {}
    for (let n = 0; n < 200; n++) {
      void state.set('a', n)
      void state.setBatch({ b: n, c: n + 1 })
      void state.delete('a')
      const patched = state.patch('sum', (sum = 0) => Number(sum) + n)
      Object.assign(expected, { b: n, c: n + 1, sum: (n * (n + 1)) / 2 })
      if (n % 3 === 0) expect(await patched).toBe(expected.sum)
      else await patched
      expect(await state.getAll()).toEqual(expected)
      expect(await state.has('a')).toBe(false)
      expect(await state.list()).toEqual(['b', 'c', 'sum'])
    }
  })

  test('what its numbers say', async () => {
    const store = await home.open()
    const writer = home.server ? await home.open() : store
    const runs = Array.from({ length: 50 }, newStream)
    for (const run of runs) await writer.state(run).setBatch({ a: 1, b: run })
    const empty = store.stats()
    expect(empty).toMatchObject({ hits: 0, misses: 0, advances: 0, invalidations: 0, unreadable: 0, trimmed: 0 })
    expect(empty.queuedBytes).toBe(0)
    for (const run of runs) expect(await store.state(run).get('b')).toBe(run)
    const cold = since(store, empty)
    expect(cold.misses + cold.hits).toBe(50)
    expect(store.stats().cachedRuns).toBe(50)
    expect(store.stats().cachedBytes).toBeGreaterThan(50 * 20)
    const warm = store.stats()
    for (const run of runs) {
      await store.state(run).get('a')
      await store.state(run).has('a')
      await store.state(run).list()
      await store.state(run).getAll()
    }
    const { hits, misses, eventsRead } = since(store, warm)
    expect({ hits, misses }).toEqual({ hits: 200, misses: 0 })
    expect(eventsRead).toBeLessThanOrEqual(200 * lookAgain)
    await writer.state(runs[0] as string).set('c', 1)
    await store.state(runs[0] as string).get('c', { consistency: 'strong' })
    expect(since(store, warm).advances).toBeGreaterThan(0)
  })

  test('bytes are bounded, and what was pushed out is right again', async () => {
    const maxBytes = 100_000
    const store = await home.open({ cache: { maxBytes } })
    const runs = Array.from({ length: 200 }, newStream)
    for (const run of runs) await store.state(run).set('text', run.padEnd(1000, '.'))
    for (let round = 0; round < 2; round++) {
      for (const run of runs) expect(await store.state(run).get('text')).toBe(run.padEnd(1000, '.'))
      await until(() => store.stats().cachedBytes <= maxBytes, `at most ${maxBytes} bytes`)
    }
    expect(store.stats().cachedRuns).toBeLessThan(100)
    expect(store.stats().cachedRuns).toBeGreaterThan(10)
  })

  test('a life by the status of the run: afterwards it is read anew', async () => {
    const cache = { ttl: { active: 1, completed: 60, failed: 1 } }
    const store = await home.open({ cache })
    const [going, good, bad] = [newStream(), newStream(), newStream()]
    for (const run of [going, good, bad]) await store.state(run).set('a', run)
    await store.append(streamOf(good), event('flow.completed'))
    await store.append(streamOf(bad), event('flow.failed', { error: 'x' }))
    const missesOf = async (run: string) => {
      const before = store.stats()
      expect(await store.state(run).get('a')).toBe(run)
      return since(store, before).misses
    }
    for (const run of [going, good, bad]) await missesOf(run)
    for (const run of [going, good, bad]) expect(await missesOf(run)).toBe(0)
    await sleep(1300)
    expect([await missesOf(going), await missesOf(good), await missesOf(bad)]).toEqual([1, 0, 1])
  })

  test('without a cache every read reads', async () => {
    const store = await home.open({ cache: { enabled: false }, snapshotEvery: 0 })
    const state = store.state(newStream())
    for (let n = 0; n < 20; n++) {
      await state.set('n', n)
      const before = store.stats()
      expect(await state.get('n')).toBe(n)
      expect(await state.getAll()).toEqual({ n })
      expect(since(store, before).eventsRead).toBe(2 * (n + 1))
    }
    expect(store.stats()).toMatchObject({ hits: 0, cachedBytes: 0 })
  })

  test('many who miss a run at once cause one read', async () => {
    const run = newStream()
    const writer = await home.open({ snapshotEvery: 0 })
    const state = writer.state(run)
    await Promise.all(Array.from({ length: 3000 }, (_, n) => state.set(`k${n % 50}`, n)))
    // In memory no other store sees it; there the reads are not even concurrent.
    const store = home.server ? await home.open({ snapshotEvery: 0 }) : writer
    const before = store.stats()
    const reads = Array.from({ length: 100 }, (_, n) => {
      const mine = store.state(run)
      if (n % 3 === 0) return mine.get('k7').then((value) => expect(value).toBe(2957))
      return mine.getAll().then((all) => expect(Object.keys(all)).toHaveLength(50))
    })
    await Promise.all(reads)
    expect(since(store, before).eventsRead).toBeLessThanOrEqual(3000 + 100 * lookAgain)
  })
})

onRedis('cached reads', (home) => {
  test('ask the server nothing', async () => {
    const [store, writer] = [await home.open(), await home.open()]
    const run = newStream()
    await writer.state(run).setBatch({ a: 1, b: 2 })
    const state = store.state(run)
    const query = { stream: streamOf(run) }
    // The second time, a timeline is kept.
    const [all, records] = [await state.getAll(), (await store.query(query)) && (await store.query(query))]
    await until(async () => (await commandsOf(() => state.getAll())).length === 0, 'a read without a command')
    const asked = await commandsOf(async () => {
      for (let n = 0; n < 1000; n++) {
        expect(await state.get('a')).toBe(1)
        expect(await state.getAll()).toEqual(all)
        if (n % 10 === 0) expect(await store.query(query)).toEqual(records)
      }
    })
    expect(asked).toEqual([])
  })

  test('strong ones see at once what another store was acknowledged', async () => {
    const [store, writer] = [await home.open(), await home.open()]
    const run = newStream()
    for (let n = 0; n < 300; n++) {
      await writer.state(run).set('n', n)
      expect(await store.state(run).get('n', { consistency: 'strong' })).toBe(n)
      await store.state(run).get('n')
    }
  })

  test('see what other processes write, through a store or not, soon', async () => {
    const store = await home.open()
    const run = newStream()
    const state = store.state(run)
    const writer = runCode(`
      import { Redis } from 'ioredis'
      import { EventStore } from './index.js'
      const store = await EventStore.open({ adapter: 'redis', redis: { url: '${home.server.url}' } })
      const client = new Redis('${home.server.url}')
      const written = []
      for (let n = 1; n <= 8; n++) {
        await new Promise((resolve) => setTimeout(resolve, 280))
        const data = JSON.stringify({ key: 'n', value: n })
        if (n % 2) await store.state('${run}').set('n', n)
        else await client.xadd('${streamOf(run)}', '*', 'type', 'state.set', 'runId', '${run}', 'flowName', '', 'data', data, 'ts', '')
        written.push(Date.now())
      }
      console.log(JSON.stringify(written))
      client.disconnect()
    `)
    const seen: Array<{ start: number; end: number; n: number }> = []
    const before = store.stats()
    while ((seen.at(-1)?.n ?? 0) < 8) {
      const start = Date.now()
      const n = Number((await state.get('n')) ?? 0)
      seen.push({ start, end: Date.now(), n })
      await sleep(1)
    }
    const ended = await writer
    expect(ended.stderr).toBe('')
    const written: number[] = JSON.parse(ended.stdout)
    const late = seen.filter(({ start, n }) => n < written.filter((at) => at <= start - DELAY).length)
    expect(late).toEqual([])
    expect(since(store, before).hits).toBeGreaterThan(seen.length / 2)
  })

  test('see what was written in the moment in which the connection was lost', async () => {
    const store = await home.open()
    const run = newStream()
    const client = connect(home.server)
    onTestFinished(() => client.disconnect())
    for (let n = 0; n < 8; n++) {
      const fields = ['type', 'state.set', 'runId', run, 'flowName', '', 'data', `{"key":"n","value":${n}}`, 'ts', '']
      // In one step: nobody can be told of the event over a connection that was there before.
      const lost = client
        .multi()
        .call('CLIENT', 'KILL', 'TYPE', 'normal')
        .xadd(streamOf(run), '*', ...fields)
      const results = (await lost.exec()) as Array<[Error | null, unknown]>
      expect(results.map(([error]) => error)).toEqual([null, null])
      await until(async () => (await store.state(run).get('n')) === n, `the value ${n}`, 1000)
      // From here on it is read from memory.
      await until(async () => (await commandsOf(() => store.state(run).get('n'))).length === 0, 'a cached read')
    }
  })

  test('over a connection that has gone silent: after five seconds memory is not believed any more', async () => {
    const wire = await Wire.to(home.server)
    onTestFinished(() => wire.cut())
    const [store, writer] = [await home.open({ redis: { url: wire.url } }), await home.open()]
    const run = newStream()
    await writer.state(run).set('n', 1)
    await store.state(run).get('n')
    await until(async () => (await commandsOf(() => store.state(run).get('n'))).length === 0, 'a cached read')
    wire.freeze()
    await writer.state(run).set('n', 2)
    expect(await store.state(run).get('n')).toBe(1)
    await sleep(5000)
    const late = store.state(run).get('n')
    await Promise.race([late, sleep(100)])
    wire.thaw()
    expect(await late).toBe(2)
  })

  const changes: Array<[string, (stream: string, ids: string[]) => Array<string | number>]> = [
    ['FLUSHALL', () => ['FLUSHALL']],
    ['DEL', (stream) => ['DEL', stream]],
    ['XTRIM to nothing', (stream) => ['XTRIM', stream, 'MAXLEN', 0]],
    ['XTRIM to the last event', (stream) => ['XTRIM', stream, 'MAXLEN', 1]],
    ['XTRIM to half of it', (stream) => ['XTRIM', stream, 'MAXLEN', 10]],
    ['XDEL of the last event', (stream, ids) => ['XDEL', stream, ids.at(-1) as string]],
    ['XDEL of one in between', (stream, ids) => ['XDEL', stream, ids[11] as string]],
    ['PEXPIRE', (stream) => ['PEXPIRE', stream, 1]],
    ['RENAME', (stream) => ['RENAME', stream, `${stream}:old`]],
  ]
  test.each(changes)('see %s by hand', async (_name, change) => {
    const [store, writer] = [await home.open(), await home.open({ snapshotEvery: 0 })]
    const cold = await home.open({ cache: { enabled: false } })
    const run = newStream()
    const stream = streamOf(run)
    const ids: string[] = []
    for (let n = 0; n < 20; n++) {
      const set = { type: 'state.set' as const, data: { key: `k${n}`, value: n } }
      ids.push((await writer.append(stream, set)).id)
    }
    const read = async (from: EventStore) => ({
      all: await from.state(run).getAll(),
      keys: await from.state(run).list(),
      records: await from.query({ stream }),
      last: await from.query({ stream, order: 'desc', limit: 3 }),
    })
    expect((await read(store)).records).toHaveLength(20)
    await read(store)
    const [name, ...args] = change(stream, ids) as [string, ...string[]]
    await command(home.server, name, ...args)
    const isSame = async () => JSON.stringify(await read(store)) === JSON.stringify(await read(cold))
    await until(isSame, 'the same as without a cache', 1500).catch(async (error) => {
      expect(await read(store), error.message).toEqual(await read(cold))
    })
    for (const each of [writer, store]) {
      await each.state(run).set('after', 1)
      await until(isSame, 'the same as without a cache after another event', 1500)
    }
  })

  test('see that another store deleted the stream, and what it holds now', async () => {
    const [store, other] = [await home.open(), await home.open()]
    const run = newStream()
    for (let n = 0; n < 20; n++) {
      await other.state(run).setBatch({ [`old${n}`]: n, n })
      expect(await store.state(run).get('n', { consistency: 'strong' })).toBe(n)
      await other.deleteStream(streamOf(run))
      if (n % 2) await other.state(run).set('new', n)
      expect(await store.state(run).getAll({ consistency: 'strong' })).toEqual(n % 2 ? { new: n } : {})
      await other.deleteStream(streamOf(run))
      await until(async () => (await store.state(run).list()).length === 0, 'nothing', 1500)
    }
    expect(store.stats().invalidations).toBeGreaterThan(5)
  })

  test('of a run that does not fit are right, and it is said once', async () => {
    const ended = await runCode(
      `
      import { EventStore } from './index.js'
      const redis = { url: '${home.server.url}' }
      const store = await EventStore.open({ adapter: 'redis', redis, cache: { maxBytes: 3000 } })
      const state = store.state('${newStream()}')
      for (let n = 0; n < 50; n++) {
        await state.set('k' + n, 'x'.repeat(100))
        const all = await state.getAll()
        if (Object.keys(all).length !== n + 1) throw new Error(n + ': ' + JSON.stringify(all))
      }
      if (store.stats().cachedBytes > 3000) throw new Error(store.stats().cachedBytes + ' bytes')
      await store.close()
    `,
      { env: { NQ_LOG: 'warn' } },
    )
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stderr.trim().split('\n')).toEqual([expect.stringContaining('cache.maxBytes')])
  })

  /** The names of the commands that the server executed meanwhile, but for those that only keep a connection alive. */
  async function commandsOf(work: () => Promise<unknown>): Promise<string[]> {
    const client = connect(home.server)
    try {
      await client.config('RESETSTAT')
      await work()
      const stats = await client.info('commandstats')
      const names = [...stats.matchAll(/cmdstat_([^:]+):/g)].map(([, name]) => name as string)
      return names.filter((name) => !/^(ping|info|config\|resetstat|hello|client\|.*|auth|select)$/.test(name))
    } finally {
      client.disconnect()
    }
  }
})

describe('servers that do not tell of changes', () => {
  test.each([
    ['a user that may not ask for it', []],
    ['a server without CLIENT', ['--rename-command', 'CLIENT', '']],
  ])('%s: cached reads are right, and see everything at once', async (_what, args) => {
    const server = await startRedis({ args })
    onTestFinished(() => server.stop())
    const redis = { url: server.url, ...(args.length === 0 && { username: 'app', password: 'secret' }) }
    if (args.length === 0) {
      const rights = ['on', '>secret', '~*', '&*', '+@all', '-client|tracking']
      await command(server, 'ACL', 'SETUSER', 'app', ...rights)
    }
    const stores = await Promise.all([1, 2].map(() => EventStore.open({ adapter: 'redis', redis, snapshotEvery: 10 })))
    onTestFinished(() => Promise.all(stores.map((store) => store.close())).then(() => {}))
    const [one, two] = stores.map((store) => store.state('r')) as [RunState, RunState]
    for (let n = 0; n < 200; n++) {
      const [writer, reader] = n % 2 ? [one, two] : [two, one]
      await writer.set('n', n)
      expect([await reader.get('n'), await writer.get('n')]).toEqual([n, n])
      expect(await reader.getAll()).toEqual({ n })
    }
    await command(server, 'DEL', 'nq:flow:r')
    expect([await one.getAll(), await two.getAll()]).toEqual([{}, {}])
  })
})
