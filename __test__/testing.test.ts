/** Flows under a clock that is moved, and runs as fixtures. */

import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { EventRecord, EventStore, StepHandler } from '../index.js'
import { createTestRuntime, exportRun, type RunFixture, replay, type TestRuntime, VirtualClock } from '../testing.js'
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

describe('a test runtime', () => {
  const flow = {
    name: 'order',
    entry: { step: 'pack', queue: 'orders' },
    steps: {
      pack: { queue: 'orders', emits: ['packed'] },
      ship: { queue: 'orders', subscribes: ['packed'], emits: ['shipped'] },
    },
  }
  const handlers: Record<string, StepHandler> = {
    pack: async ({ items }, { flow, state }) => {
      await state.set('status', 'packed')
      await flow.emit('packed', { parcels: items * 2 })
    },
    ship: async ({ parcels }, { await: wait, flow, logger, state }) => {
      await wait.time('12h')
      const answer = await flow.await('picked.up', { timeout: '1d', onTimeout: 'resume' })
      logger.info('picked up', { answer })
      await state.set('status', 'shipped')
      await flow.emit('shipped')
      return { parcels, answer: answer ?? null }
    },
  }

  async function begin(runtime: TestRuntime): Promise<string> {
    runtime.core.flows.define(flow)
    await runtime.core.worker('orders', handlers)
    const { runId } = await runtime.core.flows.start('order', { items: 3 })
    return runId
  }

  test('lets days pass in no time, each thing at its instant', async () => {
    await using runtime = await createTestRuntime({ start: '2025-11-05T10:00:00Z' })
    const { core, clock } = runtime
    const runId = await begin(runtime)
    await clock.settle()
    expect(await core.flows.status(runId)).toMatchObject({
      status: 'awaiting',
      steps: { pack: { status: 'completed' } },
    })
    await clock.advance('11h')
    expect(await core.triggers.awaits(runId)).toMatchObject([{ triggerName: 'time' }])
    await clock.advance('1h')
    const [open] = await core.triggers.awaits(runId)
    expect(open).toMatchObject({ triggerName: 'picked.up', deadline: '2025-11-06T22:00:00.000Z' })
    await clock.advance('1w')
    expect(await core.flows.status(runId)).toMatchObject({ status: 'completed', endedAt: '2025-11-06T22:00:00.000Z' })
    expect(clock.now()).toBe(Date.parse('2025-11-12T22:00:00Z'))
    expect(await core.store.state(runId).getAll()).toEqual({ status: 'shipped' })
  })

  test('begins at the same instant each time, or where the test says', async () => {
    const starts = []
    for (const options of [{}, undefined, { start: 5 }, { clock: new VirtualClock(6) }]) {
      await using runtime = await createTestRuntime(options)
      starts.push(runtime.clock.now())
      const event = await runtime.core.store.append('s', { type: 'log.info', data: { level: 'info', message: 'm' } })
      expect(Date.parse(event.timestamp)).toBe(runtime.clock.now())
    }
    expect(starts).toEqual([Date.parse('2025-01-01'), Date.parse('2025-01-01'), 5, 6])
  })

  test('shares a clock with others', async () => {
    const clock = new VirtualClock(0)
    await using one = await createTestRuntime({ clock })
    await using two = await createTestRuntime({ clock })
    const runs = [await begin(one), await begin(two)]
    await clock.advance('2d')
    expect(await one.core.flows.status(runs[0] as string)).toMatchObject({ status: 'completed' })
    expect(await two.core.flows.status(runs[1] as string)).toMatchObject({ status: 'completed' })
  })

  test('takes options of the store, but not another store', async () => {
    await using runtime = await createTestRuntime({ eventStore: { snapshotEvery: 2 }, registry: { instanceId: 'me' } })
    const state = runtime.core.store.state('r')
    for (let n = 0; n < 4; n++) await state.set('n', n)
    const file = createTestRuntime({ eventStore: { adapter: 'redis' } as object })
    await using stillMemory = await file
    await stillMemory.core.store.append('s', { type: 'log.info', data: { level: 'info', message: 'm' } })
    await expect(createTestRuntime({ nonsense: true } as object)).rejects.toMatchObject({ code: 'NQ_CONFIG' })
  })

  describe('and a step that is executed again', () => {
    /** The fixture of a run in which the pick-up came, or was never answered. */
    async function fixture(answer?: object): Promise<RunFixture> {
      await using runtime = await createTestRuntime()
      const { core, clock } = runtime
      const runId = await begin(runtime)
      await clock.advance('13h')
      const [open] = await core.triggers.awaits(runId)
      if (answer) await core.triggers.resolveAwait(runId, open?.awaitId as string, answer)
      await clock.advance('2d')
      return JSON.parse(JSON.stringify(await exportRun(core.store, runId)))
    }

    test('sees what it saw, and gives what it gave', async () => {
      for (const answer of [{ by: 'bike' }, undefined]) {
        const run = replay(await fixture(answer))
        const { result, state, events } = await run.step('ship', handlers.ship as StepHandler)
        expect(result).toEqual({ parcels: 6, answer: answer ?? null })
        expect(state).toEqual({ status: 'shipped' })
        const types = (from: EventRecord[]) =>
          from.filter(({ stepName }) => stepName === 'ship').map(({ type }) => type)
        const skips = (type: string) => type !== 'flow.step.suspended'
        expect(types(events).filter(skips)).toEqual(types(run.events).filter(skips))
      }
    })

    test('is executed with another handler', async () => {
      const run = replay<{ status: string }>(await fixture({ by: 'bike' }))
      const before = await run.step('ship', async (input, { state, attempt, runId, flowName }) => {
        return { input, status: await state.get('status'), attempt, runId, flowName }
      })
      expect(before.result).toEqual({
        ...{ input: { parcels: 6 }, status: 'packed', attempt: 1 },
        ...{ runId: run.status.runId, flowName: 'order' },
      })
      const entry = await run.step('pack', async (input, { state }) => [input, await state.getAll()])
      expect(entry.result).toEqual([{ items: 3 }, {}])
    })

    test('fails with what its handler throws', async () => {
      const error = new Error('no')
      const run = replay(await fixture())
      await expect(run.step('pack', () => Promise.reject(error))).rejects.toBe(error)
      // What its flow does not let it emit it can't emit here, either.
      await expect(run.step('pack', (_input, { flow }) => flow.emit('shipped'))).rejects.toMatchObject({
        code: 'NQ_VALIDATION',
      })
    })

    test('says what the record does not know', async () => {
      const run = replay(await fixture({ by: 'bike' }))
      const waits: StepHandler = (_input, { flow }) => flow.await('something.else')
      await expect(run.step('ship', waits)).rejects.toMatchObject({
        code: 'NQ_NONDETERMINISTIC',
        message: expect.stringContaining('ship/something.else/1'),
      })
      await expect(run.step('none', waits)).rejects.toMatchObject({ code: 'NQ_NOT_FOUND' })
      await expect(run.step(5 as never, waits)).rejects.toMatchObject({ code: 'NQ_VALIDATION' })
      await expect(run.step('ship', 5 as never)).rejects.toMatchObject({ code: 'NQ_VALIDATION' })
    })

    test('judges again what was judged', async () => {
      await using runtime = await createTestRuntime()
      const { core, clock } = runtime
      const step = { queue: 'q' }
      core.flows.define({ name: 'judge', entry: { step: 'judge', queue: 'q' }, steps: { judge: step } })
      const schema = z.object({ n: z.string().transform(Number) })
      const handler: StepHandler = async (_input, { flow }) => {
        const { n } = await flow.await('answer', { schema })
        await flow.await('second', { filter: (payload) => payload === 2 })
        return n
      }
      await core.worker('q', { judge: handler })
      const { runId } = await core.flows.start('judge')
      await clock.settle()
      await core.flows.emit(runId, 'answer', { n: 1 })
      await core.flows.emit(runId, 'answer', { n: '7' })
      await clock.settle()
      await core.flows.emit(runId, 'second', 1)
      await core.flows.emit(runId, 'second', 2)
      await clock.settle()
      expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
      expect((await replay(await exportRun(core.store, runId)).step('judge', handler)).result).toBe(7)
    })

    test('gets all of several answers', async () => {
      await using runtime = await createTestRuntime()
      const { core, clock } = runtime
      core.flows.define({
        name: 'race',
        entry: { step: 'begin', queue: 'q' },
        steps: { begin: { queue: 'q' }, join: { queue: 'q', subscribes: ['a.done', 'b.done'] } },
      })
      const begin: StepHandler = async (_input, { flow }) => {
        await flow.emit('b.done', [2])
        await flow.emit('a.done')
      }
      const join: StepHandler = async (input, { flow, await: wait }) => {
        const order: string[] = []
        const noted = async (name: string, promise: Promise<unknown>) => {
          const value = await promise.catch((error) => error.code)
          order.push(`${name} ${JSON.stringify(value) ?? 'none'}`)
        }
        const late = noted('late', flow.await('late', { timeout: '3h' }))
        await Promise.all([noted('x', flow.await('x')), noted('y', flow.await('y')), noted('hour', wait.time('1h'))])
        await Promise.race([late, wait.time('30d')])
        return { input, answers: order.sort() }
      }
      await core.worker('q', { begin, join })
      const { runId } = await core.flows.start('race')
      await clock.settle()
      await core.flows.emit(runId, 'y', 'Y')
      await clock.advance('2h')
      const x = (await core.triggers.awaits(runId)).find(({ triggerName }) => triggerName === 'x')
      await core.triggers.cancelAwait(runId, x?.awaitId as string)
      await clock.advance('2h')
      const status = await core.flows.status(runId)
      expect(status).toMatchObject({ status: 'completed' })
      const fixture = await exportRun(core.store, runId)
      const { result } = await replay(fixture).step('join', join)
      expect(result).toEqual({
        input: { 'a.done': null, 'b.done': [2] },
        answers: ['hour none', 'late "NQ_TIMEOUT"', 'x "NQ_CANCELED"', 'y "Y"'],
      })
    })
  })
})
