// Flows in tests, and runs as fixtures.
import { expectTypeOf } from 'expect-type'
import type { EventRecord, EventStore, QueueCore, RunStatus } from 'nuxt-queue-core'
import { createTestRuntime, exportRun, type RunFixture, replay, VirtualClock } from 'nuxt-queue-core/testing'

const runtime = await createTestRuntime({ start: '2025-11-05', flows: { suspendAfter: '1h' } })
expectTypeOf(runtime.core).toEqualTypeOf<QueueCore>()
expectTypeOf(runtime.clock).toEqualTypeOf<VirtualClock>()
expectTypeOf(runtime.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(runtime).toExtend<AsyncDisposable>()
await createTestRuntime({ clock: new VirtualClock(), eventStore: { snapshotEvery: 10 } })
// @ts-expect-error it is in memory
await createTestRuntime({ eventStore: { adapter: 'redis' } })

expectTypeOf(runtime.clock.advance('24h')).toEqualTypeOf<Promise<void>>()
expectTypeOf(runtime.clock.set(0)).toEqualTypeOf<Promise<void>>()
expectTypeOf(runtime.clock.settle()).toEqualTypeOf<Promise<void>>()

declare const store: EventStore
const fixture = await exportRun(store, '42')
expectTypeOf(fixture).toEqualTypeOf<RunFixture>()

const run = replay<{ epoch: number }>(fixture)
expectTypeOf(run.status).toEqualTypeOf<RunStatus>()
expectTypeOf(run.state.epoch).toEqualTypeOf<number | undefined>()
expectTypeOf(run.at({ id: '1-0' }).epoch).toEqualTypeOf<number | undefined>()
expectTypeOf(run.events).toEqualTypeOf<EventRecord[]>()
expectTypeOf(replay(fixture).state.anything).toEqualTypeOf<unknown>()

const replayed = await run.step('train', async (input: { rows: number }, ctx) => {
  await ctx.flow.await('approval')
  return input.rows
})
expectTypeOf(replayed.state.epoch).toEqualTypeOf<number | undefined>()
expectTypeOf(replayed.result).toEqualTypeOf<unknown>()
expectTypeOf(replayed.events).toEqualTypeOf<EventRecord[]>()

// What JSON gives has wider types than what was exported.
replay({
  format: 1,
  runId: '42',
  flowName: 'iris',
  events: [{ id: '1-0', stream: 's', timestamp: '', type: 'state.set', data: { key: 'epoch', value: 1 } }],
})
