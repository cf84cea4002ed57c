/** Flows in corners: what comes late, twice, beside something else, or in the same moment. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { open } from '../index.js'
import { newQueue } from './support/dispatchers.js'
import { refuses } from './support/failure.js'
import { Inbox } from './support/inbox.js'
import { startRedis } from './support/redis.js'
import { Home, Run } from './support/runs.js'

/** Waits until a handler has done what it can. */
const turns = async () => {
  for (let n = 0; n < 20; n++) await nextTurn()
}

describe('a trigger', () => {
  test.each<[string, Parameters<Home['run']>[0]]>([
    ['time', (_, ctx) => ctx.await.time('1h')],
    ['until', (_, ctx) => ctx.await.until('2100-01-01')],
    ['webhook', (_, ctx) => ctx.await.webhook()],
  ])('named %s does not end what waits for something else', async (name, handler) => {
    const home = await Home.open()
    const run = await home.run(handler)
    expect(await home.core.triggers.emit(name, 1)).toMatchObject({ resumed: [] })
    await home.clock.settle()
    expect((await run.status()).status).toBe('awaiting')
  })

  test('that is fired again with its key ends no await that began since', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => [await ctx.flow.await('a'), await ctx.flow.await('a')])
    const fire = (payload: number) => home.core.triggers.emit('a', payload, { idempotencyKey: 'k' })
    const first = await fire(1)
    await home.clock.settle()
    expect((await fire(2)).fireId).toBe(first.fireId)
    await home.clock.settle()
    expect((await run.status()).awaits).toMatchObject([{ awaitId: 'step/a/2' }])
  })

  test('has keys of its own', async () => {
    const { core } = await Home.open()
    const one = await core.triggers.emit('a:b', 1, { idempotencyKey: 'c' })
    const other = await core.triggers.emit('a', 1, { idempotencyKey: 'b:c' })
    expect(one.fireId).not.toBe(other.fireId)
  })

  test('that is too large for one run comes to the others', async () => {
    const home = await Home.open()
    const names = ['n'.repeat(120), 's']
    const runs: Run[] = []
    for (const name of names) {
      const queue = newQueue()
      home.core.flows.define({ name, entry: { step: name, queue }, steps: {} })
      await home.core.worker(queue, { [name]: (_, ctx) => ctx.flow.await('a') })
      runs.push(new Run(home, (await home.core.flows.start(name)).runId))
    }
    await home.clock.settle()
    await refuses(() => home.core.triggers.emit('a', 'x'.repeat(2 ** 20 - 600)), 'NQ_TOO_LARGE')
    await home.clock.advance('1m')
    expect((await Promise.all(runs.map((run) => run.status()))).map(({ status }) => status)).toEqual([
      'awaiting',
      'completed',
    ])
    await home.core.triggers.emit('a', 1)
    await home.clock.settle()
    expect(await runs[0]?.result()).toBe(1)
  })
})

test('an event of the name of a webhook is no answer to it', async () => {
  const home = await Home.open()
  const run = await home.run((_, ctx) => ctx.await.webhook({ schema: z.number() }))
  await home.core.flows.emit(run.runId, 'webhook', 1)
  await home.clock.settle()
  expect((await run.status()).status).toBe('awaiting')
})

describe('of awaits that were begun together', () => {
  test('one that is still open does not take the worker from a handler that goes on', async () => {
    const home = await Home.open()
    let finish = () => {}
    const run = await home.run(async (_, ctx) => {
      await Promise.race([ctx.flow.await('a'), ctx.flow.await('never')])
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      return 'done'
    })
    await home.core.triggers.emit('a')
    await turns()
    await home.clock.advance('1h')
    expect(await run.types('flow.step.suspended')).toEqual([])
    finish()
    await turns()
    expect(await run.result()).toBe('done')
  })

  test('the one that was first is first again', async () => {
    const home = await Home.open()
    const winners: string[] = []
    const run = await home.run(async (_, ctx) => {
      const late = ctx.await.time('1h').then(() => 'time')
      winners.push(await Promise.race([late, ctx.flow.await('a').then(() => 'a')]))
      return await ctx.flow.await('b')
    })
    await home.core.triggers.emit('a')
    await home.clock.advance('2h')
    expect(await run.types('flow.step.suspended')).not.toEqual([])
    await home.core.triggers.emit('b', 'done')
    await home.clock.settle()
    expect(await run.result()).toBe('done')
    expect(winners.length).toBeGreaterThan(1)
    expect(new Set(winners)).toEqual(new Set(['a']))
  })

  test('those that nobody waits for any more do not silence the log', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => {
      await Promise.race([ctx.flow.await('a'), ctx.await.time('9h')])
      ctx.logger.info('after')
    })
    await home.clock.advance('1h')
    await home.core.triggers.emit('a')
    await home.clock.settle()
    expect((await home.core.logs.query({ runId: run.runId })).map(({ message }) => message)).toEqual(['after'])
  })
})

describe('a handler', () => {
  test('that fails while it waits is tried again', async () => {
    const home = await Home.open()
    const options = { step: { maxAttempts: 2 }, worker: { suspendAfter: 0 } }
    const run = await home.run(async (_, ctx) => {
      void ctx.flow.await('never')
      await ctx.state.get('something')
      if (ctx.attempt === 1) throw new Error('once')
      return ctx.attempt
    }, options)
    await home.clock.advance('1m')
    expect(await run.result()).toBe(2)
    expect(await run.types('flow.step.suspended')).toEqual([])
  })

  test('that looks at an await later does not end the process when its run is canceled meanwhile', async () => {
    const home = await Home.open()
    const unhandled: unknown[] = []
    const listener = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', listener)
    onTestFinished(() => void process.off('unhandledRejection', listener))
    let finish = () => {}
    let thrown: unknown
    const run = await home.run(async (_, ctx) => {
      const approval = ctx.flow.await('approval')
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      void ctx.flow.emit('late')
      thrown = await approval.catch((error) => error)
    })
    await home.core.flows.cancel(run.runId)
    await turns()
    finish()
    await turns()
    expect(thrown).toMatchObject({ code: 'NQ_CANCELED' })
    expect(unhandled).toEqual([])
  })

  test('gets null where null was given', async () => {
    const home = await Home.open()
    const seen: unknown[] = []
    const run = await home.run(
      async (input, ctx) => {
        seen.push(input, await ctx.flow.await('a'), await ctx.flow.await('b'))
        return null
      },
      { input: null },
    )
    await run.answer(null)
    await home.core.flows.emit(run.runId, 'b', null)
    await home.clock.settle()
    expect(seen).toEqual([null, null, null])
    expect(await run.result()).toBeNull()
  })

  test.each([-1, 0, 1.5])('may wait until %d', async (ms) => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => ctx.await.until(ms as never))
    await home.clock.settle()
    expect((await run.status()).status).toBe('completed')
  })

  test('may wait longer than there are dates', async () => {
    const home = await Home.open()
    const run = await home.run((_, ctx) => Promise.all([ctx.await.time(1e21), ctx.await.until(1e300 as never)]))
    await home.clock.advance('400d')
    expect((await run.status()).status).toBe('awaiting')
  })

  test('judges thousands of events in their order', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => {
      for (let n = 0; n < 2000; n++) await ctx.flow.emit('tick', n)
      return await ctx.await.event({ type: 'tick', filter: (n) => n === 1999 })
    })
    expect(await run.result()).toBe(1999)
  })

  test('is found in whichever worker of its queue has it', async () => {
    const { core, clock } = await Home.open()
    core.flows.define({
      name: 'two',
      entry: { step: 'first', queue: 'q' },
      steps: { first: { queue: 'q', emits: ['x'] }, second: { queue: 'q', subscribes: ['x'] } },
    })
    // Both are idle: the job of the first step goes to the worker that was there first.
    const worker = await core.worker('q', { second: () => {} })
    await core.worker('q', { first: (_, ctx) => ctx.flow.emit('x') })
    const { runId } = await core.flows.start('two')
    await clock.settle()
    expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
    await worker.close()
    const other = await core.flows.start('two')
    await clock.settle()
    expect(await core.flows.status(other.runId)).toMatchObject({ steps: { second: { status: 'queued' } } })
  })
})

test('a run that was deleted does not come back', async () => {
  const home = await Home.open()
  let calls = 0
  const run = await home.run(async (_, ctx) => {
    calls++
    await home.core.store.deleteStream(`nq:flow:${ctx.runId}`)
  })
  await home.clock.advance('1m')
  expect(calls).toBe(1)
  expect(await home.core.flows.status(run.runId)).toBeUndefined()
})

test('a run whose id is too long to be kept track of is not begun', async () => {
  const { core } = await Home.open()
  core.flows.define({ name: 'f', entry: { step: 'a', queue: 'q' }, steps: {} })
  const runId = 'x'.repeat(490)
  await refuses(() => core.flows.start('f', 1, { runId }), 'NQ_VALIDATION', 'runId')
  expect(await core.flows.status(runId)).toBeUndefined()
})

test('what a step emits at once is recorded completely and in order', async () => {
  const server = await startRedis()
  const core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } } })
  try {
    const queue = newQueue()
    const numbers = Array.from({ length: 100 }, (_, n) => n)
    core.flows.define({ name: 'f', entry: { step: 'a', queue }, steps: {} })
    await core.worker(queue, {
      a: (_, ctx) => Promise.all(numbers.map((n) => ctx.flow.emit('tick', n))).then(() => {}),
    })
    const { runId } = await core.flows.start('f')
    const stream = `nq:flow:${runId}`
    await (await Inbox.of(core.store, stream, { after: '0-0' })).first('flow.completed', 25_000)
    const emits = await core.store.query({ stream, types: ['emit'] })
    expect(emits.map(({ data }) => data.payload)).toEqual(numbers)
  } finally {
    await core.close()
    await server.stop()
  }
})

test('an emit that was refused does not count when its step runs again', async () => {
  const home = await Home.open()
  let executions = 0
  const run = await home.run(
    async (_, ctx) => {
      executions++
      await ctx.flow.emit('x', 'y'.repeat(2 ** 20)).catch(() => {})
      await ctx.flow.emit('x', 'small')
      if (executions === 1) throw new Error('once more')
    },
    { step: { maxAttempts: 2 } },
  )
  await home.clock.advance('1m')
  expect((await run.status()).status).toBe('completed')
  expect(await run.events('emit')).toMatchObject([{ payload: 'small' }])
})

test('what is fired through the core is fired by its triggers', async () => {
  const home = await Home.open()
  const run = await home.run((_, ctx) => ctx.await.event({ type: 'paid', filter: (paid) => paid.amount > 1 }))
  await home.core.emitTrigger('paid', { amount: 1 })
  await home.core.emitTrigger('paid', { amount: 2 }, { idempotencyKey: 'second' })
  await home.clock.settle()
  expect(await run.result()).toEqual({ amount: 2 })
})

test.each([
  ['25d', '24d'],
  ['400d', '399d'],
])('P7: a deadline after %s passes then, and not before', async (timeout, before) => {
  const home = await Home.open()
  const run = await home.run((_, ctx) => ctx.flow.await('approval', { timeout, onTimeout: 'resume' }))
  await home.clock.advance(before)
  expect((await run.status()).status).toBe('awaiting')
  await home.clock.advance('1d')
  expect((await run.status()).status).toBe('completed')
  expect(await run.events('trigger.timeout')).toHaveLength(1)
  expect(await run.events('flow.step.resumed')).toHaveLength(1)
})
