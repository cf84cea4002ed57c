/** The handlers of a Nuxt app as its server reads them, and what the server's code uses: without Nuxt. */

import { describe, expect, test } from 'vitest'
import type { EventRecord, LogEntry } from '../index.js'
import {
  defineQueueConfig,
  defineQueueWorker,
  emitTrigger,
  reduceState,
  registerTrigger,
  useEventManager,
  useEventStore,
  useFlowEngine,
  useLogs,
  useRegistry,
  useTriggers,
} from '../nuxt-server.js'
import { refuses } from './support/failure.js'
import { startServer } from './support/nuxt-server.js'
import { until } from './support/redis.js'

const handler = { default: async () => {} }
const of = (config: object) => ({ ...handler, config })

describe('handlers that can’t be', () => {
  const wrong: Array<[string, Record<string, object>, RegExp]> = [
    ['no handler', { 'orders/ship': {} }, /server\/queues\/orders\/ship has no handler; write: export default/],
    [
      'a queue that nobody knows',
      { 'orders/ship': of({ queue: 'ordres' }) },
      /orders\/ship: there is no queue "ordres"; known are orders/,
    ],
    [
      'two handlers of one step',
      {
        'orders/ship': of({ flow: { name: 'order', role: 'entry' } }),
        'mails/ship': of({ flow: { name: 'order' } }),
      },
      /The step "ship" of the flow "order" has two handlers, .*orders\/ship and .*mails\/ship/,
    ],
    ['a flow that begins nowhere', { ship: of({ flow: { name: 'order' } }) }, /The flow "order" has no entry/],
    [
      'a flow that begins twice',
      { a: of({ flow: { name: 'order', role: 'entry' } }), b: of({ flow: { name: 'order', role: 'entry' } }) },
      /The flow "order" has two entries, server\/queues\/a and server\/queues\/b/,
    ],
    ['a role', { a: of({ flow: { role: 'first' } }) }, /server\/queues\/a: flow\.role is "first"; expected "entry"/],
    [
      'an option',
      { a: of({ retries: 3 }) },
      /server\/queues\/a: There is no option "retries"; known are queue, concurrency/,
    ],
  ]
  test.each(wrong)('are refused when a server starts: %s', async (_what, handlers, message) => {
    await refuses(() => startServer(handlers), 'NQ_CONFIG', message)
  })
})

test('a queue may be named in the config of the app, and has its concurrency', async () => {
  const core = await startServer({ 'orders/train': of({ queue: 'gpu' }) }, { queues: { gpu: { concurrency: 2 } } })
  const [worker] = await core.registry.listWorkers()
  expect(worker).toMatchObject({ queue: 'gpu', flows: ['orders.train'] })
})

/** Greets, and keeps in mind whom. */
const greet = {
  config: defineQueueConfig({ triggers: ['visited'] }),
  default: defineQueueWorker(async ({ name }: { name: string }, ctx) => {
    ctx.logger.info(`hello ${name}`)
    await ctx.state.set('greeted', name)
  }),
}

describe('what the server’s code uses', () => {
  test('is there as soon as the queue is open, and not before', async () => {
    const opened = startServer()
    await refuses(useEventStore, 'NQ_UNAVAILABLE', 'it is being opened; await useQueueCore()')
    const core = await opened
    expect(useEventStore()).toBe(core.store)
    expect(useTriggers()).toBe(core.triggers)
    expect(useRegistry()).toBe(core.registry)
  })

  test('registers and fires triggers, whose runs leave state and logs', async () => {
    const opened = startServer({ greet })
    await registerTrigger({ name: 'visited', type: 'event' })
    await opened
    const { runs } = await emitTrigger('visited', { name: 'Ada' })
    const runId = runs[0]?.runId as string
    await until(async () => (await useFlowEngine().status(runId))?.status === 'completed', 'the run')
    expect(reduceState(await useEventManager().query({ stream: `nq:flow:${runId}` }))).toEqual({ greeted: 'Ada' })
    expect(await useLogs().query({ runId })).toMatchObject([{ level: 'info', message: 'hello Ada' }])
  })

  test('publishes events and follows them, by run and by type', async () => {
    await startServer()
    const events = useEventManager()
    const heard: string[] = []
    const note = (where: string) => (event: EventRecord) => void heard.push(`${where} ${event.type}`)
    const stops = [events.subscribeRunId('r1', note('run')), events.onType('mail.*', note('type'))]
    await until(async () => {
      await events.publishBus({ type: 'mail.probed', runId: 'r1' })
      return heard.includes('run mail.probed') && heard.includes('type mail.probed')
    }, 'both to listen')
    await events.publishBus({ type: 'mail.sent', runId: 'r2' })
    await events.publishBus({ type: 'call.made', runId: 'r1', data: { to: 'Ada' } })
    await until(() => heard.includes('run call.made') && heard.includes('type mail.sent'), 'both events')
    expect(heard).not.toContain('run mail.sent')
    expect(heard).not.toContain('type call.made')
    for (const stop of stops) stop()
    const made = await events.query({ stream: 'nq:flow:r1', order: 'desc', limit: 1 })
    expect(made).toMatchObject([{ type: 'call.made', runId: 'r1', data: { to: 'Ada' } }])
    await refuses(() => events.publishBus({ type: 'mail.sent', runId: '' }), 'NQ_INVALID_EVENT', 'runId is empty')
  })

  test('may be told in the hook queue:config what a file of config can’t say', async () => {
    const lines: LogEntry[] = []
    const adapter = (line: LogEntry) => void lines.push(line)
    await startServer(
      { greet },
      { configure: (config) => void Object.assign(config, { logging: { routing: 'both', external: { adapter } } }) },
    )
    await useFlowEngine().start('greet', { name: 'Grace' })
    await until(() => lines.length === 1, 'the line')
    expect(lines).toMatchObject([{ message: 'hello Grace', flowName: 'greet' }])
  })
})
