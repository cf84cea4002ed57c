// Triggers: payloads by name, definitions, what is told of firings and deliveries.
import { expectTypeOf } from 'expect-type'
import {
  type Delivery,
  type Firing,
  open,
  type PendingStart,
  type RegisteredTrigger,
  type SubscriptionMode,
  type TriggerDefinition,
  type TriggerPayload,
} from 'nuxt-queue-core'
import { z } from 'zod'

declare module 'nuxt-queue-core' {
  interface TriggerMap {
    'type-test.paid': { orderId: string; amount: number }
    'type-test.ping': undefined
  }
}

const core = await open()

// Payloads of names that are declared.
expectTypeOf<TriggerPayload<'type-test.paid'>>().toEqualTypeOf<{ orderId: string; amount: number }>()
expectTypeOf<TriggerPayload<'any other'>>().toEqualTypeOf<unknown>()
expectTypeOf(await core.triggers.emit('type-test.paid', { orderId: '1', amount: 2 })).toEqualTypeOf<Firing>()
await core.emitTrigger('type-test.paid', { orderId: '1', amount: 2 }, { idempotencyKey: '1' })
await core.triggers.execute('type-test.paid', { orderId: '1', amount: 2 }, { userId: 'u' })
await core.triggers.emit('type-test.ping')
await core.triggers.emit('any other')
await core.triggers.emit('any other', 5)
// @ts-expect-error: another payload
await core.triggers.emit('type-test.paid', { orderId: 1, amount: 2 })
// @ts-expect-error: no payload
await core.triggers.emit('type-test.paid')
// @ts-expect-error: a payload where there is none
await core.triggers.emit('type-test.ping', 5)
// @ts-expect-error: only execute knows a user
await core.triggers.emit('any other', 5, { userId: 'u' })

// Definitions.
const definition: TriggerDefinition = {
  name: 'order.paid',
  type: 'webhook',
  schema: z.object({ id: z.string() }),
  transform: ({ id }, { headers, params, query }) => ({ id, event: headers?.['x-github-event'], params, query }),
  endpoint: { path: '/paid', auth: { type: 'signature', provider: 'stripe', secretRef: 'STRIPE_SECRET' } },
  config: { rateLimit: { max: 1, window: '1m' }, debounce: 500, filter: async ({ id }) => id !== '' },
}
expectTypeOf(core.registerTrigger(definition)).toEqualTypeOf<Promise<void>>()
await core.triggers.update('order.paid', { displayName: 'Paid', tags: null })
// @ts-expect-error: a name stays
await core.triggers.update('order.paid', { name: 'other' })
// @ts-expect-error: no such provider
definition.endpoint = { path: '/x', auth: { type: 'signature', provider: 'acme' } }
expectTypeOf(core.triggers.get('order.paid')).toEqualTypeOf<RegisteredTrigger | undefined>()
expectTypeOf(core.triggers.list({ type: 'webhook' })).toEqualTypeOf<RegisteredTrigger[]>()

// Subscriptions.
const mode: SubscriptionMode = (payload, { flowName }) => (payload && flowName ? 'auto' : 'skip')
await core.triggers.subscribe('order.paid', 'fulfil', { mode })
core.flows.define({
  ...{ name: 'fulfil', entry: { step: 'pack', queue: 'q' }, steps: {} },
  triggers: { subscribe: ['order.paid'], mode: 'manual' },
})
expectTypeOf(await core.triggers.pending()).toEqualTypeOf<PendingStart[]>()
expectTypeOf(await core.triggers.start('f', 'fulfil', { userId: 'u' })).toEqualTypeOf<{ runId: string }>()

// What there was.
expectTypeOf(await core.triggers.runs('order.paid', { status: 'failed', limit: 5 })).toEqualTypeOf<Firing[]>()
// @ts-expect-error: no such status
await core.triggers.runs('order.paid', { status: 'done' })
expectTypeOf(await core.triggers.deliveries('order.paid')).toEqualTypeOf<Array<Delivery & { timestamp: string }>>()
const [fired] = await core.store.query({ stream: 'nq:triggers', types: ['trigger.subscribed'] })
expectTypeOf(fired?.data.mode).toEqualTypeOf<'auto' | 'manual' | 'function' | undefined>()
