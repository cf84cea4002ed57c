/** Workers: which handler runs, how many at a time, and how a worker ends. */

import { describe, expect, test } from 'vitest'
import { type NuxtQueueError, open, type StepHandler, type WorkerContext, type WorkerOptions } from '../index.js'
import { runCode } from './support/child.js'
import { refuses } from './support/failure.js'
import { gate } from './support/inbox.js'
import { startRedis, until } from './support/redis.js'
import { Home, Run } from './support/runs.js'

const solo = (name: string, step = 'step', queue = 'q') => ({ name, entry: { step, queue }, steps: {} })

describe('a worker', () => {
  test.each<[string, unknown, unknown, WorkerOptions | undefined]>([
    ['queue', 7, { a: () => {} }, undefined],
    ['handlers', 'q', undefined, undefined],
    ['handlers', 'q', {}, undefined],
    ['handlers.a', 'q', { a: 5 }, undefined],
    ['concurrency', 'q', { a: () => {} }, { concurrency: 0 }],
    ['suspendAfter', 'q', { a: () => {} }, { suspendAfter: 'soon' }],
    ['closeTimeout', 'q', { a: () => {} }, { closeTimeout: -1 }],
    ['"limit"', 'q', { a: () => {} }, { limit: 3 } as WorkerOptions],
  ])('is refused with a malformed %s', async (name, queue, handlers, options) => {
    const { core } = await Home.open()
    await refuses(() => core.worker(queue as string, handlers as never, options), 'NQ_VALIDATION', name)
  })

  test('tells the handler where it is', async () => {
    const home = await Home.open({ registry: { instanceId: 'here' } })
    const contexts: WorkerContext[] = []
    const run = await home.run((_, ctx) => void contexts.push(ctx), { worker: { workerId: 'w1' } })
    const { runId, queue } = run
    const flowName = (await run.status()).flowName
    expect(contexts[0]).toMatchObject({
      ...{ runId, flowId: runId, flowName, stepName: 'step', stepId: `${runId}__step__attempt-1` },
      ...{ attempt: 1, jobId: `${runId}__step`, queue, signal: { aborted: false } },
    })
    await run.home.core.flows.status(runId)
    const [started] = await run.records('flow.step.started')
    expect(started).toMatchObject({ workerId: 'w1', instanceId: 'here', queue, attempt: 1 })
  })

  test('writes where it is into state and log', async () => {
    const home = await Home.open({ registry: { instanceId: 'here' } })
    const run = await home.run(
      async (_, ctx) => {
        void ctx.state.set('a', 1)
        ctx.logger.info('b')
        void ctx.state.set('c', 2)
      },
      { worker: { workerId: 'w1', instanceId: 'there' } },
    )
    const records = await run.records('state.*', 'log.*')
    expect(records.map(({ type }) => type)).toEqual(['state.set', 'log.info', 'state.set'])
    const place = { stepName: 'step', stepId: `${run.runId}__step__attempt-1`, attempt: 1, queue: run.queue }
    for (const record of records) expect(record).toMatchObject({ ...place, workerId: 'w1', instanceId: 'there' })
  })

  test('prefers the handler of the flow to that of the step', async () => {
    const { core, clock } = await Home.open()
    const called: string[] = []
    const note = (name: string) => () => void called.push(name)
    for (const name of ['a', 'b']) core.flows.define(solo(name))
    await core.worker('q', { step: note('step'), 'a/step': note('a/step') })
    await core.flows.start('a')
    await core.flows.start('b')
    await clock.settle()
    expect(called).toEqual(['a/step', 'step'])
  })

  test.each(['toString', '__proto__', 'constructor'])('does not take %s for a handler', async (step) => {
    const { core, clock } = await Home.open()
    core.flows.define(solo('f', 'step'))
    core.flows.define({ ...solo('g', 'a'), steps: { a: { queue: 'q' } } })
    const run = await core.flows.start('f')
    await core.worker('q', { [`x${step}`]: () => {} })
    await clock.settle()
    expect(await core.flows.status(run.runId)).toMatchObject({ steps: { step: { status: 'queued' } } })
  })

  test('leaves a step that it has no handler for to others', async () => {
    const home = await Home.open()
    const { core, clock } = home
    core.flows.define(solo('f'))
    await core.worker('q', { other: () => {} })
    const { runId } = await core.flows.start('f')
    await clock.advance('4s')
    expect(await core.flows.status(runId)).toMatchObject({ status: 'running', steps: { step: { status: 'queued' } } })
    await core.worker('q', { step: () => 'done' }, { concurrency: 20 })
    await clock.advance('1m')
    expect(await new Run(home, runId).result()).toBe('done')
  })

  test('runs as many handlers as it may', async () => {
    const { core, clock } = await Home.open()
    core.flows.define(solo('f'))
    const doors = gate()
    let [running, most] = [0, 0]
    await core.worker(
      'q',
      {
        step: async () => {
          most = Math.max(most, ++running)
          await doors.opened
          running--
        },
      },
      { concurrency: 3 },
    )
    const runs = await Promise.all(Array.from({ length: 9 }, () => core.flows.start('f')))
    await until(() => running === 3, 'three handlers')
    doors.open()
    await clock.settle()
    expect(most).toBe(3)
    for (const { runId } of runs) expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
  })

  test('makes room for others while a handler waits, and lets it go on when there is room again', async () => {
    const { core, clock } = await Home.open()
    core.flows.define(solo('f'))
    let [working, most] = [0, 0]
    const work = async () => {
      most = Math.max(most, ++working)
      await new Promise((resolve) => setImmediate(resolve))
      working--
    }
    await core.worker(
      'q',
      {
        step: async (_, ctx) => {
          await work()
          await ctx.flow.await('go')
          await work()
        },
      },
      { concurrency: 2 },
    )
    const runs = await Promise.all(Array.from({ length: 20 }, () => core.flows.start('f')))
    await clock.settle()
    for (const { runId } of runs) expect(await core.flows.status(runId)).toMatchObject({ status: 'awaiting' })
    await core.triggers.emit('go')
    await clock.settle()
    for (const { runId } of runs) expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
    expect(most).toBe(2)
  })

  test('waits for what its handler did not await', async () => {
    const home = await Home.open()
    const { core, clock } = home
    core.flows.define({ ...solo('f'), steps: { step: { queue: 'q' }, next: { queue: 'q', subscribes: ['go'] } } })
    await core.worker('q', { step: (_, ctx) => void ctx.flow.emit('go', 1), next: (n) => n + 1 })
    const { runId } = await core.flows.start('f')
    await clock.settle()
    const completed = await new Run(home, runId).records('flow.step.completed')
    expect(completed.map(({ stepName, data }) => [stepName, (data as { result?: unknown }).result])).toEqual(
      expect.arrayContaining([
        ['step', undefined],
        ['next', 2],
      ]),
    )
  })
})

describe('closing a worker', () => {
  test('waits for its handlers and takes no more jobs', async () => {
    const { core, clock } = await Home.open()
    core.flows.define(solo('f'))
    const doors = gate()
    const began: number[] = []
    const handler: StepHandler = async (n) => {
      began.push(n)
      await doors.opened
    }
    const worker = await core.worker('q', { step: handler }, { concurrency: 1 })
    const [first, second] = [await core.flows.start('f', 1), await core.flows.start('f', 2)]
    await until(() => began.length === 1, 'the first')
    const closed = worker.close()
    expect(await Promise.race([closed.then(() => 'closed'), new Promise((r) => setTimeout(r, 30, 'open'))])).toBe(
      'open',
    )
    doors.open()
    await closed
    await worker.close()
    expect(began).toEqual([1])
    expect(await core.flows.status(first.runId)).toMatchObject({ status: 'completed' })
    await core.worker('q', { step: handler })
    await clock.settle()
    expect(await core.flows.status(second.runId)).toMatchObject({ status: 'completed' })
  })

  test('suspends at once handlers that wait, and those that begin to', async () => {
    const home = await Home.open()
    const doors = gate()
    const run = await home.run((_, ctx) => ctx.flow.await('go'))
    const later = home.run(async (_, ctx) => {
      await doors.opened
      return await ctx.flow.await('go')
    })
    const worker = await home.core.worker('other', { x: () => {} })
    await run.worker.close()
    await worker.close()
    expect(await run.types('flow.step.suspended')).toHaveLength(1)
    doors.open()
    const second = await later
    await second.worker.close()
    expect(await second.types('flow.step.suspended')).toHaveLength(1)
    await home.core.worker(run.queue, { step: (_, ctx) => ctx.flow.await('go') })
    await run.answer('yes')
    expect(await run.result()).toBe('yes')
  })

  test('aborts handlers after a while, and hands back what they did not finish', async () => {
    const home = await Home.open()
    const { core, clock } = home
    core.flows.define(solo('polite'))
    core.flows.define(solo('deaf', 'deaf'))
    let reason: NuxtQueueError | undefined
    const worker = await core.worker(
      'q',
      {
        step: (_, ctx) =>
          new Promise((_, reject) => {
            ctx.signal.addEventListener('abort', () => {
              reason = ctx.signal.reason
              reject(ctx.signal.reason)
            })
          }),
        deaf: () => new Promise(() => {}),
      },
      { closeTimeout: 20 },
    )
    const runs = [await core.flows.start('polite'), await core.flows.start('deaf')]
    await until(
      async () => (await core.store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.step.started'] })).length === 2,
      'both',
    )
    await worker.close()
    expect(reason).toMatchObject({ code: 'NQ_CLOSED' })
    await core.worker('q', { step: () => 'polite', deaf: () => 'deaf' })
    await clock.settle()
    const results = await Promise.all(runs.map(({ runId }) => new Run(home, runId).result()))
    expect(results).toEqual(['polite', 'deaf'])
  })

  test('is part of closing the core', async () => {
    const core = await open()
    core.flows.define(solo('f'))
    const doors = gate()
    let ended = false
    await core.worker('q', {
      step: async () => {
        await doors.opened
        ended = true
      },
    })
    await core.flows.start('f')
    await new Promise((resolve) => setTimeout(resolve, 5))
    const closed = core.close()
    doors.open()
    await closed
    expect(ended).toBe(true)
  })
})

describe('Node', () => {
  const prelude = `
    import { open } from './index.js'
    const core = await open()
    core.flows.define({ name: 'f', entry: { step: 'step', queue: 'q' }, steps: {} })
    console.log('ready')
  `

  test('ends although a core is open and jobs are queued', async () => {
    const ended = await runCode(`${prelude}\nawait core.flows.start('f')`)
    expect(ended).toMatchObject({ code: 0, stdout: 'ready\n', stderr: '' })
    expect(ended.afterFirstLine).toBeLessThan(2000)
  })

  test('stays alive as long as a worker is open', async () => {
    const ended = await runCode(`${prelude}
      const worker = await core.worker('q', {
        step: async (_, ctx) => {
          await ctx.await.time(300)
          console.log('done')
          setImmediate(() => worker.close())
        },
      })
      await core.flows.start('f')
    `)
    expect(ended).toMatchObject({ code: 0, stdout: 'ready\ndone\n', stderr: '' })
  })

  test('survives whatever handlers do', async () => {
    const ended = await runCode(`${prelude}
      const worker = await core.worker('q', {
        step: async (n, ctx) => {
          if (n === 0) throw undefined
          if (n === 1) return { toJSON() { throw new Error('no') } }
          if (n === 2) throw Object.defineProperty(new Error('x'), 'message', { get() { throw new Error('y') } })
          if (n === 3) {
            setInterval(() => ctx.state.set('tick', 1), 20).unref()
            await ctx.flow.await('never')
          }
          if (n === 4) ctx.logger.info(10n, { get a() { throw new Error('z') } })
        },
      }, { suspendAfter: 30 })
      const runs = await Promise.all([0, 1, 2, 3, 4].map((n) => core.flows.start('f', n)))
      await new Promise((resolve) => setTimeout(resolve, 400))
      console.log((await Promise.all(runs.map(({ runId }) => core.flows.status(runId)))).map(({ status }) => status).join())
      await core.close()
    `)
    expect(ended).toMatchObject({ code: 0, stdout: 'ready\nfailed,failed,failed,awaiting,completed\n', stderr: '' })
  })
})

test('a worker on Redis that is closed hands its work to another', async () => {
  const server = await startRedis()
  const config = { eventStore: { adapter: 'redis' as const, redis: { url: server.url } } }
  const [one, two] = [await open(config), await open(config)]
  try {
    for (const core of [one, two]) core.flows.define(solo('f'))
    let waits = false
    const worker = await one.worker('q', {
      step: async (_, ctx) => {
        waits = true
        return await ctx.flow.await('go')
      },
    })
    const { runId } = await one.flows.start('f')
    await until(async () => waits && (await one.flows.status(runId))?.status === 'awaiting', 'the await')
    await worker.close()
    await two.worker('q', { step: (_, ctx) => ctx.flow.await('go') })
    await two.triggers.emit('go', 'over here')
    await until(async () => (await one.flows.status(runId))?.status === 'completed', 'the end')
    const [ended] = await one.store.query({ stream: `nq:flow:${runId}`, types: ['flow.completed'] })
    expect(ended?.data.result).toBe('over here')
  } finally {
    await Promise.all([one.close(), two.close()])
    await server.stop()
  }
})
