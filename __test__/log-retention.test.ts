/** Logs within a run are kept for their own time and within their own size; state, steps and all the rest stay. */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { EventStore, StoreOptions, UntypedRecord } from '../index.js'
import { VirtualClock } from '../testing.js'
import { type Home, newStream, onEveryBackend, onRedis } from './support/backends.js'
import { until } from './support/redis.js'
import { event, isLog, log, streamOf } from './support/run-events.js'
import { compareIds, Timeline } from './support/timeline.js'

const bytesOf = (records: UntypedRecord[]) =>
  records.filter(isLog).reduce((sum, record) => sum + Buffer.byteLength(JSON.stringify(record)), 0)
const idsOf = (records: UntypedRecord[]) => records.map(({ id }) => id)
const markersOf = (records: UntypedRecord[]) => records.filter(({ type }) => type === 'log.trimmed')

onEveryBackend('logs', (home) => {
  test('that are too old go, with a note of up to where', async () => {
    const { store, wait } = await open(home, { maxAge: 1 })
    const run = newStream()
    const stream = streamOf(run)
    const rest = [
      await store.append(stream, event('flow.started', { input: 1 })),
      await store.append(stream, event('flow.step.started')),
    ]
    const state = store.state(run)
    for (let n = 0; n < 20; n++) {
      await store.append(stream, n % 2 ? log(`old ${n}`) : event('log', { level: 'warn', message: 'of the original' }))
      await state.set(`k${n % 3}`, n)
    }
    const before = await store.query({ stream })
    const old = before.filter(isLog)
    await wait(2500)
    const kept = await store.append(stream, log('new'))

    const after = await trimmed(store, stream, (records) => records.filter(isLog).length === 1)
    expect(after.filter(isLog)).toEqual([kept])
    expectNote(after, old.at(-1)?.id as string)
    const untouched = after.filter((record) => record.id !== kept.id && record.type !== 'log.trimmed')
    expect(untouched).toEqual(before.filter((record) => !isLog(record)))
    expect(untouched.slice(0, 2)).toEqual(rest)
    expect(await state.getAll()).toEqual({ k0: 18, k1: 19, k2: 17 })
    expect(await state.history()).toHaveLength(20)
    await until(() => store.stats().trimmed === 20, '20 trimmed events in the statistics')
  })

  test('that go later take the older note with them', async () => {
    const { store, wait } = await open(home, { maxAge: 0.2 })
    const stream = streamOf(newStream())
    const lastIds: string[] = []
    for (let round = 0; round < 3; round++) {
      const written = await store.appendBatch(stream, [log('a'), log('b'), event('emit', { name: 'x' })])
      lastIds.push(written[1]?.id as string)
      await wait(700)
    }
    await store.append(stream, log('last'))
    const after = await trimmed(store, stream, (records) => records.filter(isLog).length <= 1)
    expectNote(after, lastIds.at(-1) as string)
    expect(after.filter(({ type }) => type === 'emit')).toHaveLength(3)
  })

  test('that are too many go, the oldest first', async () => {
    const most = 20_000
    const { store } = await open(home, { maxBytes: most })
    const run = newStream()
    const stream = streamOf(run)
    const written: string[] = []
    for (let n = 0; n < 300; n++) {
      written.push((await store.append(stream, log(`message ${n}`, 200))).id)
      if (n % 10 === 0) await store.state(run).set('n', n)
    }
    const after = await trimmed(store, stream, (records) => bytesOf(records) <= most)
    const kept = idsOf(after.filter(isLog))
    expect(kept).toEqual(written.slice(-kept.length))
    expect(bytesOf(after)).toBeGreaterThan(most / 2)
    expectNote(after, written.at(-kept.length - 1) as string)
    expect(after.filter(({ type }) => type === 'state.set')).toHaveLength(30)
    expect(await store.state(run).getAll()).toEqual({ n: 290 })
    await until(() => store.stats().trimmed >= 300 - kept.length, 'all of them in the statistics')
  })

  test('one log that is larger than all of them may be', async () => {
    const { store } = await open(home, { maxBytes: 1000 })
    const run = newStream()
    for (let n = 0; n < 5; n++) await store.append(streamOf(run), log(`large ${n}`, 3000))
    await store.state(run).set('after', 1)
    await trimmed(store, streamOf(run), (records) => records.filter(isLog).length <= 1)
    expect(await store.state(run).getAll()).toEqual({ after: 1 })
  })

  test('of other streams, and without bounds, stay', async () => {
    const { store, wait } = await open(home, { maxAge: 0.1, maxBytes: 100 })
    const other = newStream()
    const { store: unbounded } = await open(home, {})
    const run = streamOf(newStream())
    for (let n = 0; n < 10; n++) {
      await store.append(other, log(`log ${n}`, 100))
      await unbounded.append(run, log(`log ${n}`, 100))
    }
    await wait(300)
    await store.append(other, log('last'))
    await unbounded.append(run, log('last'))
    await wait(100)
    expect(await store.query({ stream: other })).toHaveLength(11)
    expect(await unbounded.query({ stream: run })).toHaveLength(11)
  })
})

onRedis('logs that go', (home) => {
  test('are gone for other stores, too, and their state is right', async () => {
    const options = { retention: { logs: { maxBytes: 5000 } } }
    const [one, two] = [await home.open(options), await home.open(options)]
    const reader = await home.open()
    const run = newStream()
    const stream = streamOf(run)
    for (let n = 0; n < 200; n++) {
      await Promise.all([one.append(stream, log(`one ${n}`, 100)), two.append(stream, log(`two ${n}`, 100))])
      await one.state(run).set('n', n)
      if (n % 20 === 0) await reader.query({ stream })
    }
    // Each of the two looks when it has written a quarter itself, and leaves three quarters.
    // If both do so at the same instant, both say so.
    const after = await trimmed(reader, stream, (records) => bytesOf(records) <= 5000 + 1250, 2)
    const stored = async () => (await Timeline.read(home.server, stream)).entries.map(({ id }) => id)
    const read = async () => idsOf(await reader.query({ stream }))
    await until(async () => (await read()).join() === (await stored()).join(), 'equal timelines', 2000).catch(
      async (error) => expect(await read(), error.message).toEqual(await stored()),
    )
    expect(idsOf(after.filter(({ type }) => type === 'state.set'))).toHaveLength(200)
    for (const store of [one, two, reader]) expect(await store.state(run).getAll()).toEqual({ n: 199 })
    await until(() => one.stats().trimmed + two.stats().trimmed > 300, 'all of them in the statistics')
    expect(reader.stats().trimmed).toBe(0)
  })
})

/** Opens a store with these bounds on logs, and a way to let time pass. */
async function open(home: Home, logs: NonNullable<NonNullable<StoreOptions['retention']>['logs']>) {
  const clock = home.server ? undefined : new VirtualClock('2025-11-05T10:00:00Z')
  const store = await home.open({ retention: { logs }, ...(clock && { clock }) })
  const wait = async (ms: number) => (clock ? clock.advance(ms) : sleep(ms))
  return { store, wait }
}

/** One note, which says that this log is gone and that the oldest one left is not. */
function expectNote(records: UntypedRecord[], lastTrimmed: string): void {
  const [note, ...others] = markersOf(records)
  expect(others).toEqual([])
  const { upTo } = (note as UntypedRecord).data as { upTo: string }
  const first = records.find(isLog)?.id
  expect([upTo, lastTrimmed].sort(compareIds)).toEqual([lastTrimmed, upTo])
  if (first !== undefined) expect([first, upTo].sort(compareIds)).toEqual([upTo, first])
}

/** Reads a stream until it stays as it is wanted, and one note is left. Whenever a log is missing, an event has to say so. */
async function trimmed(
  store: EventStore,
  stream: string,
  isSo: (records: UntypedRecord[]) => boolean,
  mostNotes = 1,
): Promise<UntypedRecord[]> {
  let records: UntypedRecord[] = await store.query({ stream })
  let logs = new Set(idsOf(records.filter(isLog)))
  await until(async () => {
    // Of several pages each is as it was when it was read.
    const before = idsOf(records).join()
    records = await store.query({ stream })
    const left = new Set(idsOf(records.filter(isLog)))
    const missing = [...logs].filter((id) => !left.has(id))
    if (missing.length > 0) expect(markersOf(records), `${missing.length} logs went`).not.toEqual([])
    logs = left
    const notes = markersOf(records).length
    return isSo(records) && notes >= 1 && notes <= mostNotes && idsOf(records).join() === before
  }, 'the logs to go').catch((error) => {
    const [logs, notes] = [records.filter(isLog), markersOf(records).map(({ id, data }) => [id, data])]
    const left = `${logs.length} logs, ${bytesOf(records)} bytes, from ${logs[0]?.id}`
    throw new Error(`${error.message}; left are ${left}, and the notes ${JSON.stringify(notes)}`)
  })
  return records
}
