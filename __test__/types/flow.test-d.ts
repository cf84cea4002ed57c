// Flows, handlers and their context, awaits, and what opens them.
import { createConsola } from 'consola'
import { expectTypeOf } from 'expect-type'
import {
  type EventRecord,
  type Firing,
  FlowEngine,
  type LogEntry,
  open,
  type QueueConfig,
  type QueueCore,
  RunLogger,
  type RunState,
  type RunStatus,
  type StepHandler,
  type StepJob,
  TriggerEngine,
  type WebhookResponse,
  type Worker,
  type WorkerContext,
} from 'nuxt-queue-core'
import { VirtualClock } from 'nuxt-queue-core/testing'
import { pino } from 'pino'
import { z } from 'zod'

// Configuration.
const config: QueueConfig = {
  eventStore: { adapter: 'redis', redis: { url: 'redis://localhost' } },
  flows: { suspendAfter: '1m' },
  triggers: { enabled: true, baseUrl: 'https://app.example.com', secret: 's' },
  jobs: { prefix: 'app' },
  logging: { level: 'info' },
  registry: { instanceId: 'a' },
  state: { provider: 'eventStore' },
  clock: new VirtualClock(),
}
const core = await open(config)
expectTypeOf(core).toEqualTypeOf<QueueCore>()
expectTypeOf(await open()).toEqualTypeOf<QueueCore>()
// @ts-expect-error no such option
await open({ suspendAfter: '1m' })
// @ts-expect-error a level that there is not
await open({ logging: { level: 'fatal' } })
// @ts-expect-error engines come from open
new FlowEngine()
// @ts-expect-error engines come from open
new TriggerEngine()
// @ts-expect-error loggers come from a context
new RunLogger()

// Definitions.
core.flows.define({
  name: 'train',
  entry: { step: 'fit', queue: 'ml', schema: z.object({ epochs: z.number() }) },
  steps: {
    fit: { queue: 'ml', emits: ['fitted'], maxAttempts: 3, backoff: { type: 'fixed', delay: '5s' } },
    report: { queue: 'mail', subscribes: ['fitted'], schema: z.object({ accuracy: z.coerce.number() }) },
  },
  accepts: ['stop'],
})
core.flows.define({ name: 'a', entry: { step: 'a', queue: 'q' }, steps: {} }, { replace: true })
// @ts-expect-error the entry is missing
core.flows.define({ name: 'a', steps: {} })
// @ts-expect-error a step has a queue
core.flows.define({ name: 'a', entry: { step: 'a', queue: 'q' }, steps: { a: {} } })
// @ts-expect-error no schema
core.flows.define({ name: 'a', entry: { step: 'a', queue: 'q', schema: {} }, steps: {} })
// @ts-expect-error a growth that there is not
core.flows.define({ name: 'a', entry: { step: 'a', queue: 'q' }, steps: { a: { queue: 'q', backoff: { type: 'x' } } } })

// Runs.
expectTypeOf(await core.flows.start('train', { epochs: 4 }, { runId: '7' })).toEqualTypeOf<{ runId: string }>()
expectTypeOf(await core.flows.emit('7', 'stop')).toEqualTypeOf<StepJob[]>()
expectTypeOf(await core.flows.cancel('7', 'because')).toEqualTypeOf<boolean>()
expectTypeOf(await core.flows.status('7')).toEqualTypeOf<RunStatus | undefined>()
expectTypeOf(await core.flows.runs('train', { limit: 5 })).toEqualTypeOf<RunStatus[]>()
expectTypeOf(await core.flows.explain('7')).toEqualTypeOf<string>()
// @ts-expect-error a misspelt option
await core.flows.start('train', {}, { runID: '7' })

// Triggers.
expectTypeOf(await core.triggers.emit('go', { n: 1 }, { idempotencyKey: 'k' })).toEqualTypeOf<Firing>()
expectTypeOf(await core.triggers.awaits('7')).toEqualTypeOf<RunStatus['awaits']>()
expectTypeOf(await core.triggers.resolveAwait('7', 'a/b/1', {})).toEqualTypeOf<boolean>()
expectTypeOf(await core.triggers.cancelAwait('7', 'a/b/1')).toEqualTypeOf<boolean>()
const request = { method: 'POST', path: '/', headers: {}, body: new Uint8Array() }
expectTypeOf(await core.triggers.handleWebhook(request)).toEqualTypeOf<WebhookResponse>()

// Logs.
expectTypeOf(await core.logs.query({ runId: '7', level: ['warn', 'error'] })).toEqualTypeOf<LogEntry[]>()
expectTypeOf(await core.logs.query()).toEqualTypeOf<LogEntry[]>()
for await (const line of core.logs.iterate({ flowName: 'train', attempt: 2, contains: 'x' })) {
  expectTypeOf(line).toEqualTypeOf<LogEntry>()
}
expectTypeOf(core.logs.stats().external.dropped).toEqualTypeOf<number>()
// @ts-expect-error a number
await core.logs.query({ attempt: '2' })
await open({ logging: { routing: 'both', external: { level: 'info', adapter: pino() } } })
await open({ logging: { routing: 'external', external: { adapter: createConsola().withTag('runs') } } })
await open({ logging: { routing: 'external', external: { adapter: console } } })
await open({ logging: { routing: 'external', external: { adapter: async (entry) => void entry.stepName } } })
await open({
  logging: { routing: 'console', external: { format: 'json' }, sampling: { rate: 0.1, alwaysLog: ['warn'] } },
})
// @ts-expect-error no logger
await open({ logging: { external: { adapter: { info: () => {} } } } })

// Chains.
const started = await core.flows.start('train', {}, { correlationId: 'c', causationId: 'm' })
expectTypeOf(started).toEqualTypeOf<{ runId: string }>()
expectTypeOf(await core.flows.chain('c')).toEqualTypeOf<RunStatus[]>()
expectTypeOf((await core.flows.chain('c'))[0]?.correlationId).toEqualTypeOf<string | undefined>()
expectTypeOf(await core.flows.timeline('r', { include: ['logs', 'state'] })).toEqualTypeOf<EventRecord[]>()
for await (const event of core.flows.trace('c')) expectTypeOf(event).toEqualTypeOf<EventRecord>()
// @ts-expect-error a part that there is not
core.flows.trace('c', { include: ['metrics'] })
const lead: StepHandler = async (_, ctx) => {
  expectTypeOf(ctx.correlationId).toEqualTypeOf<string>()
  expectTypeOf(await ctx.flow.start('train', {}, { runId: 'r' })).toEqualTypeOf<{ runId: string }>()
}
await core.worker('lead', { lead })

// Handlers.
interface Training {
  epoch: number
}
const fit: StepHandler<{ epochs: number }, Training> = async (input, ctx) => {
  expectTypeOf(input.epochs).toEqualTypeOf<number>()
  expectTypeOf(ctx).toEqualTypeOf<WorkerContext<Training>>()
  expectTypeOf(ctx.state).toEqualTypeOf<RunState<Training>>()
  expectTypeOf(ctx.logger).toEqualTypeOf<RunLogger>()
  expectTypeOf(ctx.signal).toEqualTypeOf<AbortSignal>()
  expectTypeOf(ctx.attempt).toEqualTypeOf<number>()
  await ctx.state.set('epoch', 1)
  // @ts-expect-error no such key
  await ctx.state.set('epochs', 1)
  await ctx.flow.emit('fitted', { accuracy: 0.9 })
  return { done: true }
}
expectTypeOf(
  await core.worker('ml', { fit, 'train/fit': fit, other: () => {} }, { concurrency: 4, closeTimeout: '10s' }),
).toEqualTypeOf<Worker>()
// @ts-expect-error a handler is a function
await core.worker('ml', { fit: 'fit' })
// @ts-expect-error a misspelt option
await core.worker('ml', { fit }, { concurency: 4 })

// Awaits.
declare const ctx: WorkerContext
expectTypeOf(await ctx.flow.await('go')).toBeAny()
expectTypeOf(await ctx.flow.await<{ ok: boolean }>('go')).toEqualTypeOf<{ ok: boolean }>()
expectTypeOf(await ctx.flow.await<{ ok: boolean }>('go', { timeout: '24h', data: { a: 1 } })).toEqualTypeOf<{
  ok: boolean
}>()
expectTypeOf(await ctx.flow.await<number>('go', { timeout: 5, onTimeout: 'resume' })).toEqualTypeOf<
  number | undefined
>()
expectTypeOf(await ctx.await.webhook<number>({ timeout: 5, onTimeout: 'resume' })).toEqualTypeOf<number | undefined>()
const schema = z.object({ n: z.coerce.number() })
expectTypeOf(await ctx.flow.await('go', { schema })).toEqualTypeOf<{ n: number }>()
expectTypeOf(await ctx.flow.await('go', { schema, onTimeout: 'throw' })).toEqualTypeOf<{ n: number }>()
expectTypeOf(await ctx.flow.await('go', { schema, timeout: 5, onTimeout: 'resume' })).toEqualTypeOf<
  { n: number } | undefined
>()
expectTypeOf(await ctx.await.event({ type: 'go', schema })).toEqualTypeOf<{ n: number }>()
expectTypeOf(await ctx.await.event<string>({ type: 'go', filter: (text) => text.length > 1 })).toEqualTypeOf<string>()
expectTypeOf(await ctx.await.webhook({ schema, path: '/approve' })).toEqualTypeOf<{ n: number }>()
expectTypeOf(await ctx.await.webhook()).toBeAny()
expectTypeOf(await ctx.await.time('1h')).toEqualTypeOf<void>()
expectTypeOf(await ctx.await.until(new Date())).toEqualTypeOf<void>()
expectTypeOf(ctx.await.getWebhookUrl()).toEqualTypeOf<string>()
// @ts-expect-error an event has a type
await ctx.await.event({ filter: () => true })
// @ts-expect-error a misspelt option
await ctx.flow.await('go', { timeOut: 5 })
// @ts-expect-error there are two ways
await ctx.flow.await('go', { onTimeout: 'retry' })

// Traces.
await open({ telemetry: false })
// @ts-expect-error on or off
await open({ telemetry: 'off' })
expectTypeOf<StepJob['data']['traceparent']>().toEqualTypeOf<string | undefined>()
expectTypeOf((await core.flows.status('r'))?.traceparent).toEqualTypeOf<string | undefined>()
