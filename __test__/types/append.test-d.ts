// append and appendBatch: the payload follows from the type, and so does the record.
import { expectTypeOf } from 'expect-type'
import type { EventRecord, EventStore, EventType, NewEvent, UntypedEvent } from 'nuxt-queue-core'

declare const store: EventStore
const stream = 'nq:flow:42'

const saved = await store.append(stream, { type: 'state.set', runId: '42', data: { key: 'loss', value: 0.4 } })
expectTypeOf(saved).toEqualTypeOf<EventRecord<'state.set'>>()
expectTypeOf(saved.data.value).toEqualTypeOf<unknown>()

await store.append(stream, { type: 'flow.started', data: {} }, { expectedLastId: '0-0', idempotencyKey: 'start' })
await store.append(stream, { type: 'instance.shutdown' })
await store.append(stream, { type: 'state.batch', data: { operations: [{ type: 'set', key: 'a', value: 1 }] } })

// @ts-expect-error no such type
await store.append(stream, { type: 'state.sett', data: { key: 'a', value: 1 } })
// @ts-expect-error the key is a string
await store.append(stream, { type: 'state.set', data: { key: 1, value: 1 } })
// @ts-expect-error the value is missing
await store.append(stream, { type: 'state.set', data: { key: 'a' } })
// @ts-expect-error `ttl` is no field of the payload
await store.append(stream, { type: 'state.set', data: { key: 'a', value: 1, ttl: 5 } })
// @ts-expect-error the payload is missing
await store.append(stream, { type: 'flow.failed' })
// @ts-expect-error a misspelt envelope field
await store.append(stream, { type: 'flow.failed', runid: '42', data: { error: 'x' } })
// @ts-expect-error the store assigns ids
await store.append(stream, { id: '1-0', type: 'flow.failed', data: { error: 'x' } })
// @ts-expect-error an operation of a batch is a set or a delete
await store.append(stream, { type: 'state.batch', data: { operations: [{ type: 'drop', key: 'a' }] } })
// @ts-expect-error a misspelt option
await store.append(stream, { type: 'flow.failed', data: { error: 'x' } }, { expectedId: '0-0' })

// Either of two types: a union of records.
declare const either: NewEvent<'log.info' | 'log.error'>
expectTypeOf(await store.append(stream, either)).toEqualTypeOf<EventRecord<'log.info' | 'log.error'>>()

// A batch gives records of the types that went in.
const records = await store.appendBatch(stream, [
  { type: 'state.set', data: { key: 'epoch', value: 2 } },
  { type: 'log.info', data: { level: 'info', message: 'epoch 2' } },
])
expectTypeOf(records).toEqualTypeOf<EventRecord<'state.set' | 'log.info'>[]>()
declare const prepared: readonly NewEvent[]
expectTypeOf(await store.appendBatch(stream, prepared)).toEqualTypeOf<EventRecord[]>()
// @ts-expect-error the payload belongs to another event of the batch
await store.appendBatch(stream, [{ type: 'state.set', data: { level: 'info', message: 'x' } }])

// Generic code keeps the link between type, payload and record.
export function record<T extends EventType>(event: NewEvent<T>): Promise<EventRecord<T>> {
  return store.append(stream, event)
}
expectTypeOf(await record({ type: 'flow.failed', data: { error: 'x' } })).toEqualTypeOf<EventRecord<'flow.failed'>>()

// A type known only at run time takes one cast.
declare const name: string
declare const payload: unknown
expectTypeOf(await store.append(stream, { type: name, data: payload } as NewEvent)).toEqualTypeOf<EventRecord>()
const untyped: UntypedEvent = { type: `plugin.${name}`, runId: '42', data: payload }
await store.append(stream, untyped as NewEvent)
// @ts-expect-error and never happens without one
await store.append(stream, untyped)
