/** P11: what a read costs depends on the interval of snapshots, never on how long a run has become. */

import { expect, test } from 'vitest'
import type { EventStore } from '../index.js'
import { onRedis } from './support/backends.js'

const EVENTS = Number(process.env.NQ_LONG_RUN_EVENTS ?? 1_000_000)
const KEYS = 200
const IN_FLIGHT = 64
/** The default of `snapshotEvery`, and the largest page: so many events may be read for a state. */
const MOST_READ = 1000 + 4096

/** Sets key after key to 0, 1, 2, … in this order, and gives the id of the event in the middle. */
async function fill(store: EventStore, run: string, count: number): Promise<string> {
  const state = store.state(run)
  const middle = count / 2
  let id = ''
  let next = 0
  const write = async () => {
    while (next < count) {
      const value = next++
      const key = `k${value % KEYS}`
      if (value % 250_000 === 0) console.log(`${run}: ${value} of ${count} events`)
      if (value !== middle) await state.set(key, value)
      else {
        const event = { type: 'state.set' as const, runId: run, data: { key, value } }
        id = (await store.append(`nq:flow:${run}`, event)).id
      }
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, write))
  return id
}

/** The state after so many of these events. */
function stateAfter(count: number): Record<string, number> {
  const newest = Array.from({ length: Math.min(count, KEYS) }, (_, n) => count - 1 - n)
  return Object.fromEntries(newest.map((value) => [`k${value % KEYS}`, value]))
}

onRedis('P11: a long run', (home) => {
  /** Calls, and tells what they gave and how many events that read. */
  async function counted<T>(store: EventStore, read: () => Promise<T>): Promise<{ result: T; eventsRead: number }> {
    const before = store.stats().eventsRead
    const result = await read()
    return { result, eventsRead: store.stats().eventsRead - before }
  }

  test.each([10_000, EVENTS])(
    'of %i state events is read in a snapshot interval and a page',
    async (count) => {
      const run = `of-${count}`
      const writer = await home.open()
      const started = performance.now()
      const middle = await fill(writer, run, count)
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      console.log(`${run}: written in ${seconds} s, ${writer.stats().snapshots} snapshots`)
      await writer.close()

      const store = await home.open()
      const state = store.state(run)
      const cold = await counted(store, () => state.getAll())
      expect(cold.result).toEqual(stateAfter(count))
      const warm = await counted(store, () => state.getAll())
      expect(warm.result).toEqual(cold.result)
      const again = await home.open()
      const past = await counted(again, () => again.state(run).at(middle))
      expect(past.result).toEqual(stateAfter(count / 2 + 1))
      console.log(`${run}: events read: cold ${cold.eventsRead}, warm ${warm.eventsRead}, at ${past.eventsRead}`)

      expect(cold.eventsRead).toBeLessThanOrEqual(MOST_READ)
      expect(cold.eventsRead).toBeGreaterThan(0)
      expect(warm.eventsRead).toBe(0)
      expect(past.eventsRead).toBeLessThanOrEqual(MOST_READ)
      expect(past.eventsRead).toBeGreaterThan(0)
    },
    120_000,
  )
})
