/** Ten thousand firings by four processes on one Redis server: each counts once, and the processes count together. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Firing, type FiringConfig, open, type QueueConfig, type QueueCore } from '../index.js'
import { newQueue } from './support/dispatchers.js'
import { Fleet, type Member } from './support/fleet.js'
import { fulfilment } from './support/flows.mjs'
import { command, type RedisServer, startRedis } from './support/redis.js'

const PROCESSES = 4
const OWN = 2000
/** Firings of another process that each repeats: a fifth of its calls. */
const REPEATED = 500
const HAMMERED = 200

let server: RedisServer
let core: QueueCore
let members: Member[]
const fleet = new Fleet('trigger-worker.mjs')

beforeAll(async () => {
  server = await startRedis()
  core = await open(config())
  const [pack] = fulfilment(newQueue())
  core.flows.define(pack as typeof fulfilment extends (queue: string) => Array<infer F> ? F : never)
  await register('ordered')
  await register('limited', { rateLimit: { max: 100, window: '1h' } })
  await register('distinct', { deduplicate: { key: 'order.id', window: '1h' } })
  members = await fleet.start(PROCESSES, { urls: [server.url] })
})
afterAll(async () => {
  await fleet.killAll()
  await core.close()
  await server.stop()
})

const config = (): QueueConfig => ({ eventStore: { adapter: 'redis', redis: { url: server.url } } })

async function register(name: string, config: FiringConfig = {}): Promise<void> {
  await core.triggers.register({ name, type: 'event', config })
  await core.triggers.subscribe(name, 'pack')
}

/** Lets all processes fire at once, each what is its part. */
async function fireAll(partOf: (n: number) => object[]): Promise<Firing[][]> {
  return await Promise.all(members.map((member, n) => member.ask<Firing[]>({ fire: partOf(n), inFlight: 64 })))
}

/** How many runs of the flow the index has. */
async function runs(): Promise<number> {
  return (await command(server, 'ZCARD', 'nq:flows:pack')) as number
}

test('10,000 firings, a fifth of them under a key that another process has', async () => {
  const keysOf = (n: number) => Array.from({ length: OWN }, (_, i) => `key-${n}-${i}`)
  // Two processes fire the same under a key at about the same time.
  const firings = await fireAll((n) => {
    const shared = keysOf((n + 1) % PROCESSES).slice(0, REPEATED)
    return keysOf(n).flatMap((key, i) =>
      [key, ...shared.slice(i, i + 1)].map((key) => ({ name: 'ordered', payload: { key }, key })),
    )
  })
  const unique = PROCESSES * OWN
  const fireIds = new Map<string, Set<string>>()
  for (const { fireId, data, status, runs } of firings.flat()) {
    const { key } = data as { key: string }
    fireIds.set(key, (fireIds.get(key) ?? new Set()).add(fireId))
    expect({ status, runs }).toMatchObject({ status: 'processed', runs: [{ flowName: 'pack' }] })
  }
  expect(firings.flat()).toHaveLength(unique + PROCESSES * REPEATED)
  expect([...fireIds.values()].map(({ size }) => size)).toEqual(Array(unique).fill(1))
  expect(new Set([...fireIds.values()].flatMap((ids) => [...ids])).size).toBe(unique)
  expect(await core.triggers.stats('ordered')).toEqual({ total: unique, byStatus: { processed: unique } })
  expect(await runs()).toBe(unique)
  const ends = await core.store.query({ stream: 'nq:trigger:ordered', types: ['trigger.processed'] })
  // Two that fire under one key at the same time may both record that it is done.
  expect(new Set(ends.map(({ data }) => data.fireId)).size).toBe(unique)
  expect(await command(server, 'ZCARD', 'nq:firings')).toBe(0)
}, 60_000)

test('a rate limit is that of all processes', async () => {
  const before = await runs()
  const firings = await fireAll(() => Array.from({ length: HAMMERED }, (_, i) => ({ name: 'limited', payload: { i } })))
  const expected = { processed: 100, skipped: PROCESSES * HAMMERED - 100 }
  expect(countOf(firings)).toEqual(expected)
  expect(await core.triggers.stats('limited')).toEqual({ total: PROCESSES * HAMMERED, byStatus: expected })
  expect((await runs()) - before).toBe(100)
})

test('what is the same is so for all processes', async () => {
  const before = await runs()
  const order = (i: number) => ({ order: { id: i % 50 } })
  const firings = await fireAll((n) =>
    Array.from({ length: HAMMERED }, (_, i) => ({ name: 'distinct', payload: { ...order(i), from: n } })),
  )
  const expected = { processed: 50, skipped: PROCESSES * HAMMERED - 50 }
  expect(countOf(firings)).toEqual(expected)
  expect(await core.triggers.stats('distinct')).toEqual({ total: PROCESSES * HAMMERED, byStatus: expected })
  expect((await runs()) - before).toBe(50)
})

function countOf(firings: Firing[][]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status } of firings.flat()) counts[status] = (counts[status] ?? 0) + 1
  return counts
}
