/** Runs as fixtures. */

import { expect, test } from 'vitest'
import type { EventStore } from '../index.js'
import { exportRun, type RunFixture, replay, VirtualClock } from '../testing.js'
import { onEveryBackend } from './support/backends.js'

const envelope = { runId: 'r', flowName: 'iris' }

/** A run in the stream of its store. */
async function record(store: EventStore, stream = 'nq:flow:r'): Promise<void> {
  await store.append(stream, { ...envelope, type: 'flow.started', data: { input: { rows: 150 } } })
  const state = store.state('r', { ...envelope, stepName: 'train' })
  await state.set('epoch', 1)
  await state.setBatch({ epoch: 2, accuracy: 0.92 })
  await store.append(stream, { ...envelope, type: 'flow.completed', data: {} })
}

onEveryBackend('a run as a fixture', (home) => {
  test('is all of its events, and survives being JSON', async () => {
    const store = await home.open()
    await record(store)
    const events = await store.query({ stream: 'nq:flow:r' })
    const fixture = await exportRun(store, 'r')
    expect(fixture).toEqual({ format: 1, runId: 'r', flowName: 'iris', events })
    const text = JSON.stringify(fixture, null, 2)
    expect(JSON.stringify(await exportRun(store, 'r'), null, 2)).toBe(text)

    const run = replay<{ epoch: number; accuracy: number }>(JSON.parse(text))
    expect(run.events).toEqual(events)
    expect(run.status).toMatchObject({ runId: 'r', flowName: 'iris', status: 'completed' })
    expect(run.state).toEqual({ epoch: 2, accuracy: 0.92 })
    expect(run.at(events[1]?.id as string)).toEqual({ epoch: 1 })
  })

  test('is found with a prefix of one’s own', async () => {
    const store = await home.open({ prefix: 'app' })
    await record(store, 'app:flow:r')
    expect((await exportRun(store, 'r')).events).toHaveLength(4)
  })

  test('needs a run', async () => {
    const store = await home.open()
    await expect(exportRun(store, 'none')).rejects.toMatchObject({ code: 'NQ_NOT_FOUND' })
  })
})

test('a key that expired is absent at points from then on', async () => {
  const { EventStore } = await import('../index.js')
  const store = await EventStore.open({ clock: new VirtualClock(1000) })
  await store.state('r').set('k', 1, { ttl: 500 })
  const run = replay(await exportRun(store, 'r'))
  expect([run.at(1499), run.at(1500)]).toEqual([{ k: 1 }, {}])
  await store.close()
})

const events = [{ id: '1-0', stream: 's', timestamp: '', type: 'flow.started', data: {} }]
test.each([
  ['no object', 5],
  ['nothing', null],
  ['no format', { runId: 'r', flowName: 'f', events }],
  ['another format', { format: 2, runId: 'r', flowName: 'f', events }],
  ['no run', { format: 1, flowName: 'f', events }],
  ['no events', { format: 1, runId: 'r', flowName: 'f' }],
  ['an empty run', { format: 1, runId: 'r', flowName: 'f', events: [] }],
  ['events that are none', { format: 1, runId: 'r', flowName: 'f', events: [5] }],
])('refused as a fixture: %s', (_name, fixture) => {
  expect(() => replay(fixture as RunFixture)).toThrow(expect.objectContaining({ code: 'NQ_VALIDATION' }))
})
