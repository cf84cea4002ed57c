/** Jobs that could not be handed over: what is recorded is carried out, sooner or later. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type NuxtQueueError, open, type QueueConfig, type QueueCore } from '../index.js'
import { VirtualClock } from '../testing.js'
import { newQueue } from './support/dispatchers.js'
import { failure } from './support/failure.js'
import { command, type RedisServer, startRedis, until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

let server: RedisServer
let warnings: Warnings
const opened: QueueCore[] = []

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()))
})

async function openCore(config: QueueConfig = {}): Promise<QueueCore> {
  const core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } }, ...config })
  opened.push(core)
  return core
}

/** Makes BullMQ refuse jobs for a queue while the store is as well as before. */
const breakQueue = (queue: string) => command(server, 'SET', `bull:${queue}:id`, 'broken')
const mendQueue = (queue: string) => command(server, 'DEL', `bull:${queue}:id`)

const isCompleted = async (core: QueueCore, runId: string) => (await core.flows.status(runId))?.status === 'completed'

describe('a job that could not be handed over', () => {
  test('fails the start, and is handed over later by itself', async () => {
    const clock = new VirtualClock('2025-01-01T00:00:00Z')
    const core = await openCore({ clock })
    const queue = newQueue()
    core.flows.define({ name: 'f', entry: { step: 'step', queue }, steps: {} })
    await breakQueue(queue)
    const error: NuxtQueueError = await failure(() => core.flows.start('f', 1, { runId: queue }))
    expect(error).toMatchObject({
      code: 'NQ_UNAVAILABLE',
      message: expect.stringContaining(`Run ${queue} is recorded`),
    })
    await mendQueue(queue)
    await core.worker(queue, { step: () => 'done' })
    await clock.advance('15s')
    await until(() => isCompleted(core, queue), 'the end')
  })

  test('is handed over by another process', async () => {
    const clock = new VirtualClock('2025-01-01T00:00:00Z')
    const queue = newQueue()
    const first = await openCore({ clock })
    first.flows.define({ name: 'f', entry: { step: 'step', queue }, steps: {} })
    await breakQueue(queue)
    await failure(() => first.flows.start('f', 1, { runId: queue }))
    await first.close()
    await mendQueue(queue)
    await clock.advance('10s')
    // It looks when it is opened.
    const second = await openCore({ clock })
    await second.worker(queue, { step: () => 'done' })
    await until(() => isCompleted(second, queue), 'the end')
  })

  test('holds up the step that emitted it', async () => {
    warnings = new Warnings()
    const core = await openCore()
    const [one, two] = [newQueue(), newQueue()]
    core.flows.define({
      name: 'f',
      entry: { step: 'one', queue: one },
      steps: { one: { queue: one }, two: { queue: two, subscribes: ['go'] } },
    })
    await breakQueue(two)
    await core.worker(one, {
      one: async (_, ctx) => {
        await ctx.flow.emit('go', 5)
      },
    })
    const { runId } = await core.flows.start('f')
    const events = (type: string) => core.store.query({ stream: `nq:flow:${runId}`, types: [type as 'emit'] })
    await until(async () => (await events('flow.step.started')).length > 1, 'a second execution')
    expect(await core.flows.status(runId)).toMatchObject({ status: 'running', steps: { one: { attempt: 1 } } })
    await mendQueue(two)
    await core.worker(two, { two: (n) => n })
    await until(() => isCompleted(core, runId), 'the end')
    expect(await events('emit')).toHaveLength(1)
    expect(await events('flow.stalled')).toHaveLength(0)
    warnings.stop()
    expect(warnings.caught[0]?.message).toContain('could not be handed over')
  })
})

describe('a server that restarts', () => {
  test.each(['before', 'while', 'after'])(
    'holds up steps that wait, and nothing else: answered %s it is away',
    async (when) => {
      const own = await startRedis({ appendfsync: 'always' })
      warnings = new Warnings()
      const core = await openCore({
        eventStore: { adapter: 'redis', redis: { url: own.url } },
        flows: { suspendAfter: '2s' },
      })
      try {
        const queue = newQueue()
        core.flows.define({ name: 'f', entry: { step: 'step', queue }, steps: {} })
        await core.worker(queue, {
          step: async (_, ctx) => [await ctx.flow.await('go'), await ctx.await.time(200).then(() => 'timed')],
        })
        const { runId } = await core.flows.start('f')
        await until(async () => (await core.flows.status(runId))?.status === 'awaiting', 'the await')
        const answered = () => core.triggers.emit('go', 7)
        if (when === 'before') await answered()
        await own.kill()
        const pending = when === 'while' ? answered() : undefined
        await new Promise((resolve) => setTimeout(resolve, 2500))
        await own.restart()
        await pending
        if (when === 'after') await answered()
        await until(() => isCompleted(core, runId), 'the end', 20_000)
        const [completed] = await core.store.query({ stream: `nq:flow:${runId}`, types: ['flow.completed'] })
        expect(completed?.data.result).toEqual([7, 'timed'])
        expect(await core.flows.status(runId)).toMatchObject({ steps: { step: { attempt: 1 } } })
      } finally {
        warnings.stop()
        await core.close()
        await own.stop()
      }
    },
  )
})
