/** What OpenTelemetry is told: spans with the right parents over runs and processes, metrics, the trace of log lines. */

import { randomUUID } from 'node:crypto'
import { trace } from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import {
  type FlowDefinition,
  type LogEntry,
  open,
  type QueueConfig,
  type QueueCore,
  type StepHandler,
} from '../index.js'
import { VirtualClock } from '../testing.js'
import { type Home, onEveryBackend, onRedis } from './support/backends.js'
import { runCode } from './support/child.js'
import { Fleet } from './support/fleet.js'
import { until } from './support/redis.js'
import { registerSdk, type Span } from './support/telemetry.mjs'

const sdk = registerSdk()
const tracer = trace.getTracer('test')
const opened: QueueCore[] = []

beforeEach(() => sdk.forget())
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()))
})

/** A program that runs a flow and prints whether OpenTelemetry is installed, and the trace of the run. */
const RUN = `
  import { open } from './index.js'
  const core = await open()
  core.flows.define({ name: 'f', entry: { step: 'a', queue: 'q' }, steps: {} })
  await core.worker('q', { a: () => {} })
  const { runId } = await core.flows.start('f')
  while ((await core.flows.status(runId)).status !== 'completed') await new Promise((resolve) => setTimeout(resolve, 5))
  const api = await import('@opentelemetry/api').then(() => 'installed', ({ code }) => code)
  console.log(api, (await core.flows.status(runId)).traceparent)
  await core.close()`

const toUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`

/** A core of its own in this place, with flows of one step each. */
async function openCore(
  home: Pick<Home, 'options'>,
  flows: Record<string, StepHandler>,
  config: QueueConfig = {},
): Promise<QueueCore> {
  const prefix = `nq-${randomUUID().slice(0, 8)}`
  const core = await open({ ...config, eventStore: { ...home.options, prefix }, jobs: { prefix } })
  opened.push(core)
  for (const name of Object.keys(flows)) {
    const step = { queue: 'q', maxAttempts: 2, backoff: { delay: 1 } }
    core.flows.define({ name, entry: { step: name, queue: 'q' }, steps: { [name]: step } })
  }
  if (Object.keys(flows).length > 0) await core.worker('q', flows)
  return core
}

/** The span of this name, once it has ended. */
async function span(name: string, times = 1): Promise<Span> {
  const found = () => sdk.spans().filter((known) => known.name === name)
  await until(async () => found().length >= times, `${times} spans ${name}`)
  return found()[times - 1] as Span
}

onEveryBackend('spans', (home) => {
  test('of a step are below that of its start, and what the handler makes is below the step', async () => {
    const handler: StepHandler = () => tracer.startActiveSpan('query', (inner) => inner.end())
    const core = await openCore(home, { order: handler })
    const { runId } = await tracer.startActiveSpan('POST /order', async (request) => {
      const started = await core.flows.start('order', { secret: 'sesame' })
      request.end()
      return started
    })
    const [request, start, step, inner, run] = [
      ...[await span('POST /order'), await span('start order'), await span('step order')],
      ...[await span('query'), await span('run order')],
    ]
    expect(start).toMatchObject({ kind: 'PRODUCER', parent: request.spanId, traceId: request.traceId })
    expect(start.attributes).toMatchObject({ 'nuxt_queue.run.id': runId, 'nuxt_queue.flow.name': 'order' })
    expect(step).toMatchObject({ kind: 'CONSUMER', parent: start.spanId, traceId: request.traceId })
    expect(step.attributes).toMatchObject({
      ...{ 'nuxt_queue.run.id': runId, 'nuxt_queue.step.name': 'order', 'nuxt_queue.step.attempt': 1 },
      ...{ 'nuxt_queue.step.outcome': 'completed', 'messaging.destination.name': 'q' },
    })
    expect(inner).toMatchObject({ parent: step.spanId, traceId: request.traceId })
    expect(run).toMatchObject({ parent: start.spanId, status: 'UNSET' })
    expect(run.attributes).toMatchObject({ 'nuxt_queue.run.status': 'completed' })
    const status = await core.flows.status(runId)
    expect(status?.traceparent).toBe(`00-${start.traceId}-${start.spanId}-01`)
    expect([run.from, run.to]).toEqual([status?.startedAt, status?.endedAt].map((at) => Date.parse(at as string)))
    expect(JSON.stringify(sdk.spans())).not.toContain('sesame')
  })

  test('tell of attempts that fail, and of the run that fails with them', async () => {
    const core = await openCore(home, {
      sell: () => {
        throw new TypeError('sold out')
      },
    })
    await core.flows.start('sell')
    const [first, second, run] = [await span('step sell', 1), await span('step sell', 2), await span('run sell')]
    expect(first).toMatchObject({ status: 'ERROR', message: 'sold out' })
    expect(first.attributes['nuxt_queue.step.outcome']).toBe('retried')
    expect(first.events).toEqual([
      { name: 'exception', attributes: expect.objectContaining({ 'exception.type': 'TypeError' }) },
    ])
    expect(second.attributes).toMatchObject({ 'nuxt_queue.step.outcome': 'failed', 'nuxt_queue.step.attempt': 2 })
    expect(run).toMatchObject({ status: 'ERROR', attributes: { 'nuxt_queue.run.status': 'failed' } })
    expect(run.traceId).toBe(first.traceId)
  })

  test('follow a run to those that it starts', async () => {
    const core = await openCore(home, { bill: () => {}, order: (_, ctx) => ctx.flow.start('bill') })
    await core.flows.start('order')
    const [order, start, bill] = [await span('step order'), await span('start bill'), await span('step bill')]
    expect(start.parent).toBe(order.spanId)
    expect(bill).toMatchObject({ parent: start.spanId, traceId: order.traceId })
  })

  test('follow a firing to what it starts', async () => {
    const core = await openCore(home, { report: () => {} })
    await core.registerTrigger({ name: 'paid', type: 'event' })
    await core.triggers.subscribe('paid', 'report')
    const { fireId } = await core.emitTrigger('paid')
    const [fire, step] = [await span('fire paid'), await span('step report')]
    expect(fire.attributes).toMatchObject({ 'nuxt_queue.firing.id': fireId, 'nuxt_queue.firing.status': 'processed' })
    expect(step).toMatchObject({ parent: fire.spanId, traceId: fire.traceId })
  })

  test('before and behind an await that was suspended are in one trace', async () => {
    const wait: StepHandler = (_, ctx) => ctx.flow.await('go')
    const core = await openCore(home, { wait }, { flows: { suspendAfter: 0 } })
    const { runId } = await core.flows.start('wait')
    const before = await span('step wait')
    expect(before.attributes['nuxt_queue.step.outcome']).toBe('suspended')
    await tracer.startActiveSpan('POST /go', async (request) => {
      await core.flows.emit(runId, 'go')
      request.end()
    })
    const behind = await span('step wait', 2)
    expect([before.links, behind.links]).toEqual([[], [(await span('POST /go')).spanId]])
    expect(behind).toMatchObject({ traceId: before.traceId, parent: before.parent })
    expect(behind.events.map(({ name }) => name)).toEqual(['nuxt_queue.await.ended'])
    expect(before.status).toBe('UNSET')
  })

  test('of a run that nobody traced when it began are in one trace nevertheless', async () => {
    const core = await openCore(home, { rise: () => {} })
    await core.registerTrigger({ name: 'morning', type: 'schedule', schedule: { interval: '1s' } })
    await core.triggers.subscribe('morning', 'rise')
    const step = await span('step rise')
    await core.triggers.disable('morning')
    const runs = () => sdk.spans().filter(({ name }) => name === 'run rise')
    const isOfRun = (run: Span) => run.attributes['nuxt_queue.run.id'] === step.attributes['nuxt_queue.run.id']
    await until(async () => runs().some(isOfRun), 'the span of the run')
    expect(runs().find(isOfRun)).toMatchObject({ traceId: step.traceId, parent: step.parent })
  })

  test('behind an await are linked to the firing that ended it', async () => {
    const wait: StepHandler = (_, ctx) => ctx.flow.await('approved')
    const core = await openCore(home, { wait }, { flows: { suspendAfter: 0 } })
    await core.registerTrigger({ name: 'approved', type: 'event' })
    await core.flows.start('wait')
    await span('step wait')
    await core.emitTrigger('approved')
    const [fire, behind] = [await span('fire approved'), await span('step wait', 2)]
    expect(behind.links).toEqual([fire.spanId])
    expect(behind.traceId).not.toBe(fire.traceId)
  })

  test('of a step that awaits have what came of it, whatever span of the handler is active', async () => {
    const wait: StepHandler = (_, ctx) =>
      tracer.startActiveSpan('mine', async (mine) => {
        await ctx.await.time(1)
        mine.end()
      })
    const core = await openCore(home, { wait })
    await core.flows.start('wait')
    const [step, mine] = [await span('step wait'), await span('mine')]
    expect(step.events.map(({ name }) => name)).toEqual(['nuxt_queue.await.ended'])
    expect(mine.events).toEqual([])
  })

  test('of a step are linked to the emit that let it run, of several the last', async () => {
    const core = await openCore(home, {})
    const emit = (name: string) => ({ queue: 'q', subscribes: ['begun'], emits: [name] })
    core.flows.define({
      name: 'join',
      entry: { step: 'begin', queue: 'q' },
      steps: {
        ...{ begin: { queue: 'q', emits: ['begun'] }, left: emit('left'), right: emit('right') },
        join: { queue: 'q', subscribes: ['left', 'right'] },
      },
    })
    const emitting =
      (name: string): StepHandler =>
      (_, ctx) =>
        ctx.flow.emit(name)
    const handlers = { begin: emitting('begun'), left: emitting('left'), right: emitting('right'), join: () => {} }
    await core.worker('q', handlers)
    await core.flows.start('join')
    const [begin, left, right, join] = [
      ...[await span('step begin'), await span('step left'), await span('step right'), await span('step join')],
    ]
    expect([begin.links, left.links, right.links]).toEqual([[], [begin.spanId], [begin.spanId]])
    expect(join.links).toHaveLength(1)
    expect([left.spanId, right.spanId]).toContain(join.links[0])
    expect(new Set([begin, left, right, join].map(({ parent }) => parent)).size).toBe(1)
  })

  test('follow a webhook to what it starts: below the trace that its headers name, or the span of the server', async () => {
    const core = await openCore(home, { hook: () => {} })
    const endpoint = { path: '/hook', auth: { type: 'bearer', secret: 'sesame' } } as const
    await core.registerTrigger({ name: 'hook', type: 'webhook', endpoint })
    await core.triggers.subscribe('hook', 'hook')
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
    const headers = { Traceparent: `00-${traceId}-${spanId}-01`, 'content-type': 'application/json' }
    const request = { method: 'POST', path: '/hook', body: new TextEncoder().encode('{}') }
    const authorization = 'Bearer sesame'
    await core.triggers.handleWebhook({ ...request, headers })
    expect(sdk.spans()).toEqual([])
    await core.triggers.handleWebhook({ ...request, headers: { ...headers, authorization } })
    const [fire, step] = [await span('fire hook'), await span('step hook')]
    expect(fire).toMatchObject({ traceId, parent: spanId })
    expect(step).toMatchObject({ traceId, parent: fire.spanId })
    await tracer.startActiveSpan('POST /hook', async (server) => {
      await core.triggers.handleWebhook({ ...request, headers: { ...headers, authorization } })
      server.end()
    })
    expect((await span('fire hook', 2)).parent).toBe((await span('POST /hook')).spanId)
    expect(JSON.stringify(sdk.spans())).not.toContain('sesame')
  })

  test('of an execution say so if what it came to does not count', async () => {
    let begin = () => {}
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const long: StepHandler = async (_, { signal }) => {
      const aborted = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      begin()
      await aborted
    }
    const core = await openCore(home, { long })
    const { runId } = await core.flows.start('long')
    await begun
    await core.flows.cancel(runId)
    expect((await span('step long')).attributes['nuxt_queue.step.outcome']).toBe('discarded')
  })

  test('change nothing of what becomes of a step, whatever it throws', async () => {
    const thrown = [Object.create(null), new Proxy(new Error(), { get: () => { throw new Error('no') } })] // biome-ignore format: one line
    const core = await openCore(home, {
      odd: () => {
        throw thrown.shift()
      },
    })
    const { runId } = await core.flows.start('odd')
    const [first, second] = [await span('step odd'), await span('step odd', 2)]
    const outcomes = [first, second].map(({ attributes }) => attributes['nuxt_queue.step.outcome'])
    expect(outcomes).toEqual(['retried', 'failed'])
    const events = await core.flows.timeline(runId)
    const told = events.filter(({ type }) => type === 'flow.step.retry' || type === 'flow.step.failed')
    expect(told.map(({ data }) => (data as { error: string }).error)).toEqual([first.message, second.message])
  })

  test('tell of a run that is canceled', async () => {
    const core = await openCore(home, {})
    core.flows.define({ name: 'idle', entry: { step: 'idle', queue: 'nobody' }, steps: {} })
    const { runId } = await core.flows.start('idle')
    await core.flows.cancel(runId)
    expect((await span('run idle')).attributes['nuxt_queue.run.status']).toBe('canceled')
  })
})

onRedis('a run over several processes', (home) => {
  test('is one trace', async () => {
    const flow: FlowDefinition = {
      name: 'pass',
      entry: { step: 'catch', queue: 'one' },
      steps: { catch: { queue: 'one', emits: ['caught'] }, throw: { queue: 'two', subscribes: ['caught'] } },
    }
    const fleet = new Fleet('telemetry-worker.mjs')
    onTestFinished(() => fleet.killAll())
    const url = home.server.url
    const [catcher] = await fleet.start(1, { url, flow, step: 'catch' })
    const [thrower] = await fleet.start(1, { url, flow, step: 'throw' })
    const core = await open({ eventStore: home.options })
    opened.push(core)
    core.flows.define(flow)
    const { runId } = await core.flows.start('pass')
    await until(async () => (await core.flows.status(runId))?.status === 'completed', 'the end of the run')
    const start = await span('start pass')
    const below = { traceId: start.traceId, parent: start.spanId }
    expect(await catcher?.ask({ spans: true })).toMatchObject([{ name: 'step catch', ...below }])
    await until(async () => (await thrower?.ask<Span[]>({ spans: true }))?.length === 2, 'two spans')
    expect(await thrower?.ask({ spans: true })).toMatchObject([
      { name: 'step throw', ...below },
      { name: 'run pass', ...below },
    ])
  })
})

onEveryBackend('lines', (home) => {
  test('that go to a logger outside name their trace and the span that is active', async () => {
    const told: LogEntry[] = []
    const handler: StepHandler = (_, ctx) => {
      ctx.logger.info('in the step')
      tracer.startActiveSpan('inner', (inner) => {
        ctx.logger.info('within')
        inner.end()
      })
    }
    const logging = { routing: 'both', external: { adapter: (entry: LogEntry) => void told.push(entry) } } as const
    const core = await openCore(home, { work: handler }, { logging })
    const { runId } = await core.flows.start('work')
    const [step, inner] = [await span('step work'), await span('inner')]
    expect(told).toMatchObject([
      { message: 'in the step', trace_id: step.traceId, span_id: step.spanId, trace_flags: '01' },
      { message: 'within', trace_id: step.traceId, span_id: inner.spanId },
    ])
    expect((await core.logs.query({ runId })).map((line) => 'trace_id' in line)).toEqual([false, false])
  })
})

onEveryBackend('metrics', (home) => {
  test('count what happened, with units', async () => {
    const wait: StepHandler = async (_, ctx) => {
      await ctx.flow.await('go')
    }
    const flow = `wait-${randomUUID().slice(0, 8)}`
    const core = await openCore(home, { [flow]: wait })
    const trigger = `go-${flow}`
    await core.registerTrigger({ name: trigger, type: 'event' })
    await core.triggers.subscribe(trigger, flow)
    await core.emitTrigger(trigger)
    await core.triggers.disable(trigger)
    await core.emitTrigger(trigger)
    const [run] = await core.flows.runs(flow)
    await until(async () => (await core.flows.status(run?.runId as string))?.status === 'awaiting', 'the await')
    await core.flows.emit(run?.runId as string, 'go')
    await span(`run ${flow}`)
    const own = async (metric: string) =>
      (await sdk.values(metric)).filter(({ attributes }) => Object.values(attributes).includes(flow))
    expect(await own('nuxt_queue.step.duration')).toMatchObject([
      { value: { count: 1 }, unit: 's', attributes: { 'nuxt_queue.step.outcome': 'completed' } },
    ])
    expect(await own('nuxt_queue.run.duration')).toMatchObject([
      { value: { count: 1 }, attributes: { 'nuxt_queue.run.status': 'completed' } },
    ])
    const firings = (await sdk.values('nuxt_queue.trigger.firings')).filter(
      ({ attributes }) => attributes['nuxt_queue.trigger.name'] === trigger,
    )
    expect(firings.map(({ value, attributes }) => [attributes['nuxt_queue.firing.status'], value])).toEqual([
      ['processed', 1],
      ['skipped', 1],
    ])
    expect((await sdk.values('nuxt_queue.await.opened')).length).toBeGreaterThan(0)
    const ended = await sdk.values('nuxt_queue.await.ended')
    expect(ended.map(({ attributes }) => attributes['nuxt_queue.await.outcome'])).toContain('fired')
    const [appended] = await sdk.values('nuxt_queue.store.appended')
    expect(appended).toMatchObject({ value: expect.any(Number), unit: '{event}' })
    expect(appended?.value).toBeGreaterThan(8)
    await core.close()
  })

  test('count firings of schedules', async () => {
    const clock = new VirtualClock('2025-01-01T00:00:00Z')
    const core = await openCore(home, {}, { clock })
    const name = `tick-${randomUUID().slice(0, 8)}`
    await core.registerTrigger({ name, type: 'schedule', schedule: { interval: '1m' } })
    await clock.advance('3m')
    const own = (await sdk.values('nuxt_queue.trigger.firings')).filter(({ attributes }) =>
      Object.values(attributes).includes(name),
    )
    expect(own.map(({ value }) => value)).toEqual([3])
  })
})

describe('metrics of a process', () => {
  test('are those of all its cores, also of those that are closed', async () => {
    const appended = async () => (await sdk.values('nuxt_queue.store.appended'))[0]?.value as number
    const runs = async () => (await sdk.values('nuxt_queue.cache.size'))[0]?.value
    const home = { options: { adapter: 'memory' } } as const
    const [one, other] = [await openCore(home, {}), await openCore(home, {})]
    const before = await appended()
    for (const { store } of [one, one, other]) await store.append('s', { type: 'emit', data: { name: 'a' } })
    expect(await appended()).toBe(before + 3)
    expect(await appended()).toBe(before + 3)
    await one.close()
    await other.close()
    expect(await appended()).toBeGreaterThanOrEqual(before + 3)
    expect(await runs()).toBe(0)
  })

  test('tell for how long attempts could have run, and of awaits that timed out', async () => {
    const clock = new VirtualClock('2025-01-01T00:00:00Z')
    const core = await open({ clock })
    opened.push(core)
    const name = `late-${randomUUID().slice(0, 8)}`
    const step = { queue: 'q', maxAttempts: 2, backoff: { type: 'fixed', delay: '1m' } } as const
    core.flows.define({ name, entry: { step: name, queue: 'q' }, steps: { [name]: step } })
    await core.flows.start(name)
    await clock.advance('5s')
    await core.worker('q', {
      [name]: async (_, ctx) => {
        if (ctx.attempt === 1) throw new Error('once more')
        await ctx.flow.await('never', { timeout: '1h', onTimeout: 'resume' })
      },
    })
    await clock.advance('2h')
    const own = async (metric: string) =>
      (await sdk.values(metric)).filter(({ attributes }) => Object.values(attributes).includes(name))
    // The first waited for the worker. The second began when it could, and so did what it did after its await.
    expect(await own('nuxt_queue.step.delay')).toMatchObject([
      { value: { count: 2, sum: 5 }, unit: 's', attributes: { 'messaging.destination.name': 'q' } },
    ])
    const outcomes = (await own('nuxt_queue.step.duration')).map(
      ({ attributes }) => attributes['nuxt_queue.step.outcome'],
    )
    expect(outcomes).toEqual(['retried', 'suspended', 'completed'])
    const ended = await sdk.values('nuxt_queue.await.ended')
    expect(ended).toContainEqual({
      value: 1,
      unit: '{await}',
      attributes: { 'nuxt_queue.await.kind': 'trigger', 'nuxt_queue.await.outcome': 'timeout' },
    })
  })
})

describe('a core that is not to tell', () => {
  test('records no trace and makes no span', async () => {
    const core = await open({ telemetry: false })
    core.flows.define({ name: 'quiet', entry: { step: 'quiet', queue: 'q' }, steps: {} })
    await core.worker('q', { quiet: () => {} })
    const { runId } = await core.flows.start('quiet')
    await until(async () => (await core.flows.status(runId))?.status === 'completed', 'the end of the run')
    expect((await core.flows.status(runId))?.traceparent).toBeUndefined()
    expect(sdk.spans()).toEqual([])
    await core.close()
    await expect(open({ telemetry: 'yes' as never })).rejects.toMatchObject({ code: 'NQ_CONFIG' })
  })

  test('as no SDK is there, works without', async () => {
    const { stdout, stderr, code } = await runCode(RUN)
    expect({ stdout, stderr, code }).toEqual({ stdout: 'installed undefined\n', stderr: '', code: 0 })
  })

  test('as OpenTelemetry is not installed, works without', async () => {
    const hide = `export const resolve = (name, context, next) => {
      if (name !== '@opentelemetry/api') return next(name, context)
      throw Object.assign(new Error('not there'), { code: 'ERR_MODULE_NOT_FOUND' })
    }`
    const register = `import { register } from 'node:module'; register(${JSON.stringify(toUrl(hide))})`
    const { stdout, stderr, code } = await runCode(RUN, { node: ['--import', toUrl(register)] })
    expect({ stdout, stderr, code }).toEqual({ stdout: 'ERR_MODULE_NOT_FOUND undefined\n', stderr: '', code: 0 })
  })
})
