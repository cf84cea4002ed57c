/** State on its way from the original's keys into events: written in both, copied while it changes, and back. */

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createStateProvider, createWorkerContext, type StateProvider } from '../compat.js'
import { EventStore, open } from '../index.js'
import { root } from '../scripts/lib/paths.mjs'
import { newStream, onRedis } from './support/backends.js'
import { type Ended, runCode, runFile } from './support/child.js'
import { connect, type RedisServer, startRedis } from './support/redis.js'

const newRun = () => newStream().replaceAll(':', '-')

onRedis('state in old keys', (home) => {
  const provide = async (provider: 'redis' | 'dual' | 'eventStore') =>
    createStateProvider(await home.open(), { provider })
  let redis: Redis
  beforeAll(() => {
    redis = connect(home.server)
  })
  afterAll(() => redis.disconnect())

  describe('alone', () => {
    test('has the layout of the original', async () => {
      const provider = await provide('redis')
      const id = newRun()
      const values = { text: 'plain', number: 1.5, object: { a: [null] }, yes: true, nothing: null, digits: '123' }
      for (const [name, value] of Object.entries(values)) await provider.set(`flow:${id}:${name}`, value)
      await provider.set(`${id}-bare`, 'x')
      const read = async (key: string) => await redis.get(key)
      expect(await Promise.all(Object.keys(values).map((name) => read(`nq:flow:${id}:${name}`)))).toEqual([
        ...['plain', '1.5', '{"a":[null]}', 'true', 'null', '123'],
      ])
      expect(await read(`nq:${id}-bare`)).toBe('x')
      // What the original reads in it, too.
      expect(await provider.get(`flow:${id}:digits`)).toBe(123)
      expect(await provider.get(`flow:${id}:object`)).toEqual({ a: [null] })
      expect((await provider.list(`flow:${id}:`)).keys).toHaveLength(6)
      await provider.delete(`flow:${id}:text`)
      expect([await provider.get(`flow:${id}:text`), await read(`nq:flow:${id}:text`)]).toEqual([null, null])
      await provider.set(`flow:${id}:short`, 1, { ttl: 60_000 })
      expect(await redis.pttl(`nq:flow:${id}:short`)).toBeGreaterThan(30_000)
      expect(await redis.exists(`nq:flow:${id}`)).toBe(0)
      await provider.close()
    })

    test('loses nothing of concurrent patches', async () => {
      const providers = [await provide('redis'), await provide('redis')]
      const key = `flow:${newRun()}:n`
      const add = (n: number | null) => (n ?? 0) + 1
      await Promise.all(Array.from({ length: 20 }, (_, n) => providers[n % 2]?.patch<number>(key, add)))
      expect(await providers[0]?.get(key)).toBe(20)
      await Promise.all(providers.map((provider) => provider.close()))
    })

    test('is refused what can not be kept', async () => {
      for (const provider of [await provide('redis'), await provide('dual')]) {
        const key = `flow:${newRun()}:k`
        const refused: Array<[() => Promise<unknown>, string]> = [
          [() => provider.set(key, 1n), 'NQ_INVALID_EVENT'],
          [() => provider.set(key, () => 1), 'NQ_INVALID_EVENT'],
          [() => provider.set(key, 1, { ttl: -1 }), 'NQ_VALIDATION'],
          [() => provider.patch(key, () => undefined), 'NQ_VALIDATION'],
          [() => provider.patch(key, 5 as never), 'NQ_VALIDATION'],
          [() => provider.set(key, 1, { expires: 1 } as never), 'NQ_VALIDATION'],
        ]
        for (const [call, code] of refused) await expect(call()).rejects.toMatchObject({ code })
        expect(await provider.get(key)).toBeNull()
        await provider.close()
      }
    })

    test('leaves keys alone that are no state', async () => {
      const id = newRun()
      await redis.rpush(`nq:flow:${id}:queue`, 'job')
      for (const provider of [await provide('redis'), await provide('dual')]) {
        expect(await provider.get(`flow:${id}:queue`)).toBeNull()
        const refused = await provider.set(`flow:${id}:queue`, 's3cret').catch((error) => error)
        expect(refused).toMatchObject({ code: 'NQ_BACKEND', message: expect.stringContaining('belongs to a list') })
        expect(inspect(refused, { depth: 9, showHidden: true })).not.toContain('s3cret')
        await provider.delete(`flow:${id}:other`)
        await provider.close()
      }
      expect(await redis.lrange(`nq:flow:${id}:queue`, 0, -1)).toEqual(['job'])
    })

    test('is not to be had in memory', async () => {
      for (const provider of ['redis', 'dual'] as const) {
        const refused = { code: 'NQ_CONFIG', message: expect.stringContaining('state.provider') }
        expect(() => createStateProvider({}, { provider })).toThrow(expect.objectContaining(refused))
        await expect(open({ state: { provider } })).rejects.toMatchObject(refused)
      }
      expect(() => createStateProvider({}, { provider: 'mongo' as never })).toThrow(/'eventStore', 'redis' or 'dual'/)
    })
  })

  describe('and in events', () => {
    const names = ['a state of a run', 'other state'] as const
    const keysOf = (kind: (typeof names)[number]) => {
      const id = newRun()
      return kind === names[0]
        ? { key: `flow:${id}:k`, old: `nq:flow:${id}:k`, list: `flow:${id}:` }
        : { key: `${id}-k`, old: `nq:${id}-k`, list: id }
    }

    test.each(names)('%s is written in both', async (kind) => {
      const [dual, events, old] = [await provide('dual'), await provide('eventStore'), await provide('redis')]
      const { key, old: oldKey, list } = keysOf(kind)
      for (const value of ['123', { a: 1 }, null, false]) {
        await dual.set(key, value)
        expect([await dual.get(key), await events.get(key)]).toEqual([value, value])
        expect(await redis.get(oldKey)).toBe(typeof value === 'string' ? value : JSON.stringify(value))
      }
      expect(await dual.patch<boolean>(key, (previous) => !previous)).toBe(true)
      expect([await events.get(key), await old.get(key)]).toEqual([true, true])
      expect((await dual.list(list)).keys).toEqual([key])
      await dual.set(key, 1, { ttl: 60_000 })
      expect(await redis.pttl(oldKey)).toBeGreaterThan(30_000)
      await dual.delete(key)
      expect([await dual.get(key), await events.get(key), await redis.get(oldKey)]).toEqual([null, null, null])
      for (const provider of [dual, events, old]) await provider.close()
    })

    test.each(names)('%s that only its key has is read from there', async (kind) => {
      const dual = await provide('dual')
      const { key, old, list } = keysOf(kind)
      await redis.set(old, '{"n":1}')
      expect(await dual.get(key)).toEqual({ n: 1 })
      expect((await dual.list(list)).keys).toEqual([key])
      expect(await dual.patch<{ n: number }>(key, (previous) => ({ n: (previous?.n ?? 0) + 1 }))).toEqual({ n: 2 })
      expect(await redis.get(old)).toBe('{"n":2}')
      // Gone from there, for whatever reason: it is in events by now.
      await redis.del(old)
      expect(await dual.get(key)).toEqual({ n: 2 })
      await dual.close()
    })

    test.each(names)('%s that an instance writes which knows keys only is the later word', async (kind) => {
      const dual = await provide('dual')
      const { key, old } = keysOf(kind)
      await dual.set(key, 1)
      await redis.set(old, '7')
      expect(await dual.get(key)).toBe(7)
      expect(await dual.patch<number>(key, (n) => (n ?? 0) + 1)).toBe(8)
      expect([await dual.get(key), await redis.get(old)]).toEqual([8, '8'])
      await dual.delete(key)
      await redis.set(old, '9')
      expect(await dual.get(key)).toBe(9)
      await dual.close()
    })

    test.each(names)('%s that an instance writes which knows events only is the later word', async (kind) => {
      const [dual, events] = [await provide('dual'), await provide('eventStore')]
      const { key, old, list } = keysOf(kind)
      await dual.set(key, 1)
      await events.set(key, 2)
      expect([await dual.get(key), await redis.get(old)]).toEqual([2, '1'])
      await events.delete(key)
      expect(await dual.get(key)).toBeNull()
      expect((await dual.list(list)).keys).toEqual([])
      await dual.set(key, 3)
      expect([await dual.get(key), await redis.get(old)]).toEqual([3, '3'])
      for (const provider of [dual, events]) await provider.close()
    })

    test.each(names)('%s is the same in both after concurrent writes, and no patch is lost', async (kind) => {
      const writers = [await provide('dual'), await provide('dual')]
      const events = await provide('eventStore')
      const { key, old } = keysOf(kind)
      const turn = (n: number) => writers[n % 2] as StateProvider
      await Promise.all(Array.from({ length: 40 }, (_, n) => turn(n).set(key, n)))
      expect(await redis.get(old)).toBe(String(await events.get(key)))
      await writers[0]?.set(key, 0)
      await Promise.all(Array.from({ length: 20 }, (_, n) => turn(n).patch<number>(key, (was) => (was ?? 0) + 1)))
      expect([await events.get(key), await redis.get(old), await writers[0]?.get(key)]).toEqual([20, '20', 20])
      for (const provider of [...writers, events]) await provider.close()
    })

    test('is what handlers see', async () => {
      const config = { eventStore: home.options, state: { provider: 'dual' } } as const
      const core = await open(config)
      try {
        const [runId, queue] = [newRun(), newRun()]
        await redis.set(`nq:flow:${runId}:before`, '5')
        core.flows.define({ name: 'dual', entry: { step: 's', queue }, steps: {} })
        await core.worker(queue, {
          s: async (_, { state }) => {
            await state.set('after', ((await state.get('before')) as number) + 1)
            await state.setBatch({ more: [1], text: '1' })
            return [await state.getAll(), await state.has('before'), await state.list('a')]
          },
        })
        await core.flows.start('dual', {}, { runId })
        await expect.poll(async () => (await core.flows.status(runId))?.status, { timeout: 10_000 }).toBe('completed')
        const [completed] = await core.store.query({ stream: `nq:flow:${runId}`, types: ['flow.step.completed'] })
        const all = { after: 6, before: 5, more: [1], text: '1' }
        expect(completed?.data.result).toEqual([all, true, ['after']])
        expect(await redis.get(`nq:flow:${runId}:after`)).toBe('6')
        const ctx = createWorkerContext(core, { jobId: 'j', queue, flowId: runId, stepName: 's' })
        expect(await ctx.state.getAll()).toEqual(all)
        await expect(core.store.state(runId).get('before')).resolves.toBeUndefined()
      } finally {
        await core.close()
      }
    })
  })
})

describe('migrate', () => {
  let server: RedisServer
  let redis: Redis
  const cli = (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
    runFile([join(root, 'bin/nuxt-queue-core.js'), ...args], { env: { REDIS_URL: server.url, ...env } })
  beforeAll(async () => {
    server = await startRedis()
    redis = connect(server)
  })
  afterAll(async () => {
    redis.disconnect()
    await server.stop()
  })

  test('is a part of the way from keys to events and back, with instances of two kinds at each turn', async () => {
    const store = await EventStore.open({ adapter: 'redis', redis: { url: server.url } })
    const make = (provider: 'redis' | 'dual' | 'eventStore') => createStateProvider(store, { provider })
    const [old, dual, events] = [make('redis'), make('dual'), make('eventStore')]
    const add = (n: number | null) => (n ?? 0) + 1
    let expected = 0
    /** Instances take turns; each finds what the others wrote. */
    const turn = async (...instances: StateProvider[]) => {
      for (const instance of [...instances, ...instances]) {
        expect(await instance.patch<number>('flow:way:n', add)).toBe(++expected)
        await instance.set(`flow:way:by-${expected}`, expected)
      }
    }
    const migrate = async (...args: string[]) => {
      expect((await cli(['migrate', ...args])).code).toBe(0)
      expect((await cli(['migrate', '--verify', ...args])).code).toBe(0)
    }
    await turn(old)
    await turn(old, dual)
    await turn(dual)
    await migrate()
    await turn(dual, events)
    await turn(events)
    const names = (await events.list('flow:way:')).keys
    expect(names).toHaveLength(expected + 1)
    await turn(events, dual)
    await turn(dual)
    await migrate('--back')
    await turn(dual, old)
    await turn(old)
    expect((await old.list('flow:way:')).keys).toHaveLength(expected + 1)
    for (let n = 1; n <= expected; n++) expect(await old.get(`flow:way:by-${n}`)).toBe(n)
    await Promise.all([old.close(), dual.close(), store.close()])
    await redis.flushall()
  })

  test('says what it would do, does it once, and says whether it is done', async () => {
    await redis.mset({ 'nq:flow:r1:a': 'text', 'nq:flow:r1:b:c': '{"n":[1]}', 'nq:flow:r2:a': '5', 'nq:bare': 'true' })
    await redis.set('nq:flow:r2:expiring', 'x', 'PX', 600_000)
    await redis.rpush('nq:flow:r2:list', 'no state')
    const dry = await cli(['migrate', '--dry-run'])
    expect([dry.code, dry.stdout]).toEqual([
      0,
      'Would copy 5 values of 3 streams from keys into events; 0 said the same already.\n',
    ])
    expect(await redis.exists('nq:flow:r1', 'nq:state')).toBe(0)
    const open = await cli(['migrate', '--verify'])
    expect([open.code, open.stdout]).toEqual([1, expect.stringContaining('flow:r1:b:c: only in its key')])
    const first = await cli(['migrate'])
    expect([first.code, first.stdout]).toEqual([
      0,
      'Copied 5 values of 3 streams from keys into events; 0 said the same already.\n',
    ])
    expect(first.stderr.split('\n').slice(-2)).toEqual(['100 %  3 of 3 streams', ''])
    const again = await cli(['migrate'])
    expect(again.stdout).toBe('Copied 0 values of 3 streams from keys into events; 5 said the same already.\n')
    const verified = await cli(['migrate', '--verify'])
    expect([verified.code, verified.stdout]).toEqual([0, '5 values of 3 streams say the same in keys and events.\n'])
    const store = await EventStore.open({ adapter: 'redis', redis: { url: server.url } })
    expect(await store.state('r1').getAll()).toEqual({ a: 'text', 'b:c': { n: [1] } })
    expect(await store.state('r2').getAll()).toEqual({ a: 5, expiring: 'x' })
    const [expiring] = await store.query({ stream: 'nq:flow:r2', types: ['state.set'], order: 'desc', limit: 1 })
    expect(expiring).toMatchObject({ causationId: 'migration', data: { expiresAt: expect.any(String) } })
    const provider = createStateProvider(store)
    expect(await provider.get('bare')).toBe(true)
    await store.close()
  })

  test('tells of keys that an instance has written since, and copies them again', async () => {
    await redis.set('nq:flow:r2:a', '6')
    const verified = await cli(['migrate', '--verify'])
    expect([verified.code, verified.stdout]).toEqual([
      1,
      expect.stringContaining('flow:r2:a: written into its key since'),
    ])
    expect((await cli(['migrate'])).stdout).toContain('Copied 1 value of 3 streams')
    expect((await cli(['migrate', '--verify'])).code).toBe(0)
  })

  test('goes back: keys get what only events say', async () => {
    const store = await EventStore.open({ adapter: 'redis', redis: { url: server.url } })
    const state = store.state('r3')
    await state.set('new', { a: 1 })
    await state.set('expiring', 1, { ttl: 600_000 })
    await store.state('r1').delete('a')
    await store.state('r2').setBatch({ a: 'text' })
    await createStateProvider(store).set('bare', false)
    expect((await cli(['migrate', '--verify'])).code).toBe(0)
    const open = await cli(['migrate', '--verify', '--back'])
    expect([open.code, open.stdout]).toEqual([1, expect.stringContaining('flow:r1:a: newer in events')])
    const back = await cli(['migrate', '--back'])
    expect([back.code, back.stdout]).toEqual([
      0,
      expect.stringContaining('Copied 5 values of 4 streams from events into keys'),
    ])
    expect(await redis.mget('nq:flow:r3:new', 'nq:flow:r1:a', 'nq:flow:r2:a', 'nq:bare')).toEqual([
      ...['{"a":1}', null, 'text', 'false'],
    ])
    expect(await redis.pttl('nq:flow:r3:expiring')).toBeGreaterThan(300_000)
    expect((await cli(['migrate', '--verify', '--back'])).code).toBe(0)
    expect((await cli(['migrate', '--back'])).stdout).toContain('Copied 0 values')
    await store.close()
  })

  test('deletes old keys that events make up for, and no others', async () => {
    await redis.set('nq:flow:r4:fresh', '1')
    const dry = await cli(['migrate', '--delete-old', '--dry-run'])
    expect(dry.stdout).toContain('Would delete 6 keys')
    const ended = await cli(['migrate', '--delete-old'])
    expect([ended.code, ended.stdout]).toEqual([1, expect.stringContaining('Deleted 6 keys.')])
    expect((await redis.keys('nq:flow:*:*')).sort()).toEqual(['nq:flow:r2:list', 'nq:flow:r4:fresh'])
  })

  test.each<[string[], NodeJS.ProcessEnv, number, string]>([
    [['migrat'], {}, 2, 'There is no command "migrat"; known are migrate.'],
    [['migrate', '--fast'], {}, 2, "Unknown option '--fast'"],
    [['migrate', 'now'], {}, 2, "Unexpected argument 'now'"],
    [['migrate', '--redis'], {}, 2, "'--redis <value>' argument missing"],
    [['migrate', '--verify', '--dry-run'], {}, 2, '--verify copies nothing'],
    [['migrate', '--back', '--delete-old'], {}, 2, '--delete-old goes with --dry-run only'],
    [['migrate'], { REDIS_URL: '' }, 1, 'NQ_CONFIG: Say which Redis: --redis URL'],
    [['migrate', '--redis', 'redis://user:s3cret@127.0.0.1:1'], {}, 1, 'NQ_UNAVAILABLE'],
    [['migrate', '--redis', 'http://user:s3cret@x'], {}, 1, 'NQ_CONFIG'],
  ])('%j is refused', async (args, env, code, message) => {
    const ended = await cli(args, env)
    expect([ended.code, ended.stdout]).toEqual([code, ''])
    expect(ended.stderr).toContain(message)
    expect(ended.stderr).not.toMatch(/s3cret|\n {4}at /)
  })

  test('shows a bar on a terminal, and stops in order when it is told to', async () => {
    await redis.mset({ 'bar:flow:1:a': '1', 'bar:flow:2:a': '2' })
    const code = `
      import { main } from './dist/cli/main.js'
      const [stdout, bar] = [[], []]
      const stderr = { isTTY: true, write: (text) => bar.push(text) }
      const env = process.env
      const terminal = (signal) => ({ stdout: { write: (text) => stdout.push(text) }, stderr, env, signal })
      const codes = [await main(['migrate', '--dry-run', '--prefix', 'bar'], terminal(AbortSignal.abort()))]
      codes.push(await main(['migrate', '--dry-run', '--prefix', 'bar'], terminal(new AbortController().signal)))
      console.log(JSON.stringify({ codes, stdout: stdout.join(''), bar: bar.join('') }))`
    const ended = await runCode(code, { env: { REDIS_URL: server.url } })
    const { codes, stdout, bar } = JSON.parse(ended.stdout)
    expect(codes).toEqual([1, 0])
    expect(stdout).toMatch(/^Stopped before the end; run it again to go on\.\nWould copy 0 values/)
    expect(stdout).toContain('Would copy 2 values of 2 streams')
    expect(bar.split('\r').at(-1)).toBe(`${'█'.repeat(30)} 100 %  2 of 2 streams\n`)
  })

  test('helps', async () => {
    for (const args of [[], ['--help'], ['help']]) expect((await cli(args)).stdout).toContain('migrate     Copies')
    for (const args of [
      ['migrate', '--help'],
      ['help', 'migrate'],
    ]) {
      expect((await cli(args)).stdout).toMatch(/Usage: nuxt-queue-core migrate \[options\][\s\S]*--dry-run +only say/)
    }
    expect((await cli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  test('is killed in the middle of 1,000 runs that go on, is run again, and nothing is missing', async () => {
    await redis.flushall()
    const [runs, perRun] = [1000, 4]
    const seed = redis.pipeline()
    for (let run = 0; run < runs; run++) {
      for (let n = 0; n < perRun; n++) seed.set(`nq:flow:run-${run}:k${n}`, n % 2 ? `text ${run}` : `{"n":${run}}`)
      seed.set(`nq:flow:run-${run}:counter`, '0')
    }
    await seed.exec()
    const store = await EventStore.open({ adapter: 'redis', redis: { url: server.url } })
    const traffic = new Traffic(
      [0, 1].map(() => createStateProvider(store, { provider: 'dual' })),
      runs,
    )
    const running = traffic.run()
    const killed = spawn(process.execPath, [join(root, 'bin/nuxt-queue-core.js'), 'migrate'], {
      env: { ...process.env, REDIS_URL: server.url },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await killAfterFirstLine(killed)
    expect((await cli(['migrate', '--verify'])).code).toBe(1)
    const resumed = await cli(['migrate'])
    expect([resumed.code, resumed.stdout]).toEqual([0, expect.stringMatching(/^Copied [\d,]+ values of 1,000 streams/)])
    const said = Number(/; ([\d,]+) said the same/.exec(resumed.stdout)?.[1]?.replace(',', ''))
    expect(said).toBeGreaterThanOrEqual(100 * perRun)
    traffic.stop()
    await running
    const verified = await cli(['migrate', '--verify'])
    expect([verified.code, verified.stdout]).toEqual([
      0,
      `${(runs * (perRun + 1) + traffic.added).toLocaleString('en-US')} values of 1,000 streams say the same in keys and events.\n`,
    ])
    const events = createStateProvider(store)
    for (const [key, value] of traffic.expected) expect([key, await events.get(key)]).toEqual([key, value])
    for (let run = 0; run < runs; run += 97) {
      expect(await store.state(`run-${run}`).getAll()).toMatchObject({ k2: { n: run }, k3: `text ${run}` })
    }
    await store.close()
  })
})

/** Instances that write state all the time, in both homes, and know what has to be there in the end. */
class Traffic {
  readonly expected = new Map<string, unknown>()
  /** How many names there are that were not there before. */
  added = 0
  readonly #writers: StateProvider[]
  readonly #runs: number
  #stopped = false

  constructor(writers: StateProvider[], runs: number) {
    this.#writers = writers
    this.#runs = runs
  }

  async run(): Promise<void> {
    for (let round = 0; !this.#stopped; round++) await this.#write(round)
    await Promise.all(this.#writers.map((writer) => writer.close()))
  }

  stop(): void {
    this.#stopped = true
  }

  /** All writers at once: they add to the same counter. */
  async #write(round: number): Promise<void> {
    const run = (round * 37) % this.#runs
    const key = `flow:run-${run}:counter`
    const add = (n: number | null) => (n ?? 0) + 1
    await Promise.all(this.#writers.map((writer) => writer.patch<number>(key, add)))
    this.expected.set(key, ((this.expected.get(key) as number | undefined) ?? 0) + this.#writers.length)
    const [writer] = this.#writers
    await writer?.set(`flow:run-${run}:k0`, `changed ${round}`)
    this.expected.set(`flow:run-${run}:k0`, `changed ${round}`)
    if (!this.expected.has(`flow:run-${run}:new`)) this.added++
    await writer?.set(`flow:run-${run}:new`, round)
    this.expected.set(`flow:run-${run}:new`, round)
  }
}

/** Kills a command with its first sign of progress. */
async function killAfterFirstLine(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.stderr?.once('data', () => child.kill('SIGKILL'))
    child.once('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve()
      else reject(new Error(`it ended with ${code} before it was killed`))
    })
  })
}
