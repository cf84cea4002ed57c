// Types that a program adds by declaration merging are as good as the built-in ones.
import { expectTypeOf } from 'expect-type'
import type { EventRecord, EventStore, EventType } from 'nuxt-queue-core'

declare module 'nuxt-queue-core' {
  interface EventMap {
    'order.paid': { orderId: string; cents: number }
    'order.line.added': { sku: string }
    'order.closed': undefined
    ping: unknown
  }
}

declare const store: EventStore
const stream = 'orders:7'

expectTypeOf<'order.paid' | 'order.line.added' | 'order.closed' | 'ping'>().toExtend<EventType>()

const paid = await store.append(stream, { type: 'order.paid', data: { orderId: 'A7', cents: 1290 } })
expectTypeOf(paid).toEqualTypeOf<EventRecord<'order.paid'>>()
await store.append(stream, { type: 'order.closed' })
await store.append(stream, { type: 'ping' })
await store.append(stream, { type: 'ping', data: [1, 2, 3] })
// @ts-expect-error the amount is a number
await store.append(stream, { type: 'order.paid', data: { orderId: 'A7', cents: '12.90' } })
// @ts-expect-error this type has no payload
await store.append(stream, { type: 'order.closed', data: { reason: 'done' } })

// Families form by themselves, at every dot.
const orders = await store.query({ stream, types: ['order.*'] })
expectTypeOf(orders).toEqualTypeOf<EventRecord<'order.paid' | 'order.line.added' | 'order.closed'>[]>()
expectTypeOf(await store.query({ stream, types: ['order.line.*'] })).toEqualTypeOf<EventRecord<'order.line.added'>[]>()
for (const record of await store.query({ stream })) {
  if (record.type === 'order.paid') expectTypeOf(record.data.cents).toEqualTypeOf<number>()
}
await store.subscribe(stream, (event) => {
  if (event.type === 'order.line.added') expectTypeOf(event.data.sku).toEqualTypeOf<string>()
})
