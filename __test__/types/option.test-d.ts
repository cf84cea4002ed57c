// Options, errors and the clock for tests.
import { expectTypeOf } from 'expect-type'
import { type ErrorCode, EventStore, NuxtQueueError, type StoreStats } from 'nuxt-queue-core'
import { VirtualClock } from 'nuxt-queue-core/testing'

expectTypeOf(EventStore.open()).toEqualTypeOf<Promise<EventStore>>()
const store = await EventStore.open({
  adapter: 'redis',
  prefix: 'app',
  redis: { url: 'rediss://localhost', password: 'secret', db: 1, tls: true },
  limits: { maxEventBytes: 4096, maxQueuedBytes: 1_000_000, appendTimeoutMs: 5000 },
  clock: new VirtualClock(),
  cache: { enabled: true, maxBytes: 1 << 20, ttl: { active: 60, completed: 0.5, failed: Infinity } },
  retention: { active: Infinity, completed: 60, failed: 60, logs: { maxAge: 3600, maxBytes: 1 << 20 } },
  snapshotEvery: 0,
})
expectTypeOf(store.stats()).toEqualTypeOf<StoreStats>()
expectTypeOf(store.close()).toEqualTypeOf<Promise<void>>()
await EventStore.open({ adapter: 'file', file: { dir: 'events', fsync: false, readOnly: true } })
// @ts-expect-error a directory is needed
await EventStore.open({ adapter: 'file', file: { fsync: false } })
// @ts-expect-error no such adapter
await EventStore.open({ adapter: 'kafka' })
// @ts-expect-error a switch is on or off
await EventStore.open({ cache: { enabled: 1 } })
// @ts-expect-error a size is a number of bytes
await EventStore.open({ cache: { maxBytes: '64 MiB' } })
// @ts-expect-error a life is a number of seconds
await EventStore.open({ cache: { ttl: { active: '1d' } } })
// @ts-expect-error canceled runs count as completed
await EventStore.open({ retention: { canceled: 60 } })
// @ts-expect-error logs have no status
await EventStore.open({ retention: { logs: { completed: 60 } } })
// @ts-expect-error 0 turns snapshots off
await EventStore.open({ snapshotEvery: false })
// @ts-expect-error a port is a number
await EventStore.open({ redis: { port: '6379' } })
// @ts-expect-error a clock of one's own would not reach the native side
await EventStore.open({ clock: Date })
// @ts-expect-error stores are opened, not made
new EventStore()

const clock = new VirtualClock('2025-11-05T10:00:00Z')
expectTypeOf(clock.now()).toEqualTypeOf<number>()
clock.advance('24h')
clock.advance(250)
clock.set(new Date(0))
// @ts-expect-error a step is a number or a text
clock.advance(new Date())

const error = new NuxtQueueError('NQ_CONFLICT', 'The stream has moved on.', { cause: new Error('why') })
expectTypeOf(error).toExtend<Error>()
expectTypeOf(error.code).toEqualTypeOf<ErrorCode>()
expectTypeOf<ErrorCode>().toExtend<string>()
if (error.code === 'NQ_CONFLICT') expectTypeOf(error.code).toEqualTypeOf<'NQ_CONFLICT'>()
// @ts-expect-error no such code
if (error.code === 'NQ_NOTHING') error.message
// @ts-expect-error a code is needed
new NuxtQueueError('The stream has moved on.')

// Helper types of the declarations stay inside.
// @ts-expect-error not exported
export type { Payload } from 'nuxt-queue-core'
