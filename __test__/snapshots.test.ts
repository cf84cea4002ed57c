/** P4: state from the snapshots that a store writes by itself equals state from a full replay. */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type EventStore, type RunState, reduceState, type UntypedRecord } from '../index.js'
import { VirtualClock } from '../testing.js'
import { newStream, onEveryBackend } from './support/backends.js'
import { randomFrom } from './support/random.js'
import { until } from './support/redis.js'
import { log, streamOf } from './support/run-events.js'

const SEED = Number(process.env.NQ_SNAPSHOT_SEED ?? Date.now() % 1_000_000)
const EVERY = 10

type Random = ReturnType<typeof randomFrom>

const isSnapshot = ({ type, causationId }: UntypedRecord) =>
  type === 'state.snapshot' || causationId === 'state.snapshot'
const snapshotsOf = (events: UntypedRecord[]) => events.filter(({ type }) => type === 'state.snapshot')

/** Changes state in some way; some keys expire soon, some late. */
async function change(state: RunState, random: Random, n: number): Promise<unknown> {
  const key = ['a', 'b', 'c', 'd', '__proto__', 'constructor', 'ä'][random.upTo(7)] as string
  const kind = random.upTo(10)
  if (kind < 3) return state.set(key, n)
  if (kind < 5) return state.set(key, n, { ttl: random.upTo(2) ? 1 + random.upTo(20) : 3_600_000 })
  if (kind < 6) return state.delete(key)
  if (kind < 8) return state.patch('list', (list) => [...((list as number[] | undefined) ?? []), n].slice(-5))
  return state.setBatch({ [key]: n, other: null })
}

onEveryBackend('snapshots', (home) => {
  const clock = new VirtualClock('2025-11-05T10:00:00Z')
  const options = () => (home.server ? {} : { clock })
  const open = (snapshotEvery?: number) => home.open({ snapshotEvery, ...options() })
  const now = () => (home.server ? Date.now() : clock.now())
  const pass = async (ms: number) => (home.server ? sleep(ms) : clock.advance(ms))

  const query = (store: EventStore, run: string): Promise<UntypedRecord[]> => store.query({ stream: streamOf(run) })

  test('change nothing of the state, now and at any point, keys that expire included', async () => {
    const store = await open(EVERY)
    const random = randomFrom(SEED)
    const run = newStream()
    const state = store.state(run)
    for (let n = 0; n < 300; n++) {
      await change(state, random, n)
      if (random.upTo(4) === 0) await store.append(streamOf(run), log(`after ${n}`))
      if (random.upTo(2) === 0) await pass(1 + random.upTo(3))
    }
    await pass(30)

    const readers = home.server ? [await open(EVERY), await open(0), store] : [store]
    const events = await query(store, run)
    const replayed = events.filter((event) => !isSnapshot(event))
    expect(snapshotsOf(events).length, `seed ${SEED}`).toBeGreaterThan(10)
    for (const reader of readers) {
      expect(await reader.state(run).getAll(), `seed ${SEED}`).toEqual(reduceState(replayed, { at: now() }))
      for (const event of events) {
        const past = await reader.state(run).at(event.id)
        const of = `seed ${SEED}, at ${event.id}`
        expect(past, of).toEqual(reduceState(events, { at: event.id }))
        if (!isSnapshot(event)) expect(past, of).toEqual(reduceState(replayed, { at: event.id }))
      }
    }
  })

  test('come once an interval, and are counted', async () => {
    const store = await open(100)
    const run = newStream()
    for (let n = 0; n < 2000; n++) await store.state(run).set(`k${n % 10}`, n)
    for (let n = 0; n < 500; n++) await store.append(streamOf(run), log('no change of state'))
    const events = await query(store, run)
    const snapshots = snapshotsOf(events)
    // They are written beside the appends: on a busy disk some come late, and the next one counts from there.
    expect(snapshots.length).toBeGreaterThanOrEqual(8)
    expect(snapshots.length).toBeLessThanOrEqual(20)
    for (const snapshot of snapshots) {
      const before = events.slice(0, events.indexOf(snapshot))
      expect(snapshot.data).toEqual(reduceState(before))
    }
    await until(() => store.stats().snapshots === snapshots.length, 'the snapshots in the statistics')
  })

  test.each([
    ['none with 0', 0, 3000],
    ['none before the interval is full, which by default is 1000', undefined, 900],
  ])('%s', async (_what, every, count) => {
    const store = await open(every)
    const run = newStream()
    await Promise.all(Array.from({ length: count }, (_, n) => store.state(run).set('n', n)))
    await store.state(run).getAll()
    expect(snapshotsOf(await query(store, run))).toEqual([])
    expect(store.stats().snapshots).toBe(0)
  })

  test('none in streams that are no runs', async () => {
    const store = await open(10)
    const stream = newStream()
    for (let n = 0; n < 100; n++) await store.append(stream, { type: 'state.set', data: { key: 'n', value: n } })
    expect(await store.query({ stream })).toHaveLength(100)
  })
})
