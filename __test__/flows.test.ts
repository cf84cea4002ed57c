/** Flows: definitions, starts, events from outside, how runs end. */

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type FlowDefinition, type NuxtQueueError, open, type StepJob } from '../index.js'
import { failure, refuses } from './support/failure.js'
import { Home, Run } from './support/runs.js'
import { Warnings } from './support/warnings.js'

const flow: FlowDefinition = {
  name: 'order',
  entry: { step: 'pack', queue: 'orders' },
  steps: {
    pack: { queue: 'orders', emits: ['packed'] },
    invoice: { queue: 'billing', subscribes: ['packed'], emits: ['invoiced'] },
    ship: { queue: 'orders', subscribes: ['packed', 'invoiced', 'paid'] },
  },
  accepts: ['paid'],
}

describe('a definition', () => {
  test.each<[string, unknown, string]>([
    ['no object', 5, 'The flow is 5'],
    ['another member', { ...flow, stepz: {} }, 'The flow has no member "stepz"'],
    ['no entry', { name: 'x', steps: {} }, 'entry is undefined'],
    ['another member of a step', { ...flow, steps: { pack: { queue: 'q', retries: 3 } } }, 'steps.pack has no member'],
    ['a malformed pause', { ...flow, steps: { pack: { queue: 'q', backoff: { delay: '5 sec' } } } }, 'backoff.delay'],
    ['another growth', { ...flow, steps: { pack: { queue: 'q', backoff: { type: 'linear' } } } }, 'backoff.type'],
    ['no schema', { ...flow, entry: { ...flow.entry, schema: {} } }, 'entry.schema is an object'],
  ])('with %s is refused', async (_, definition, message) => {
    const { core } = await Home.open()
    await refuses(() => core.flows.define(definition as FlowDefinition), 'NQ_VALIDATION', message)
  })

  test('that can’t work is refused', async () => {
    const { core } = await Home.open()
    const lost = { ...flow, steps: { ...flow.steps, lost: { queue: 'q', subscribes: ['never'] } }, accepts: [] }
    await refuses(() => core.flows.define(lost), 'NQ_CONFIG', 'never')
  })

  test('may be given again, and be replaced when asked to', async () => {
    const { core } = await Home.open()
    core.flows.define(flow)
    core.flows.define(structuredClone(flow))
    const other = { ...flow, steps: { pack: { queue: 'orders' } }, accepts: [] }
    await refuses(() => core.flows.define(other), 'NQ_CONFIG', 'order')
    core.flows.define(other, { replace: true })
    await refuses(() => core.flows.define(other, { replace: 1 as unknown as boolean }), 'NQ_VALIDATION', 'replace')
  })

  test('may leave out what there is no more to say of', async () => {
    const { core, clock } = await Home.open()
    core.flows.define({ name: 'short', entry: { step: 'only', queue: 'q' }, steps: {} })
    await core.worker('q', { only: () => 'done' })
    const { runId } = await core.flows.start('short')
    await clock.settle()
    expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
  })
})

describe('a start', () => {
  test('hands the input to the entry', async () => {
    const home = await Home.open()
    const run = await home.run((input) => ({ got: input }), { input: { a: [1, null] } })
    expect(await run.result()).toEqual({ got: { a: [1, null] } })
  })

  test('of an unknown flow names those that are known', async () => {
    const { core } = await Home.open()
    core.flows.define(flow)
    await refuses(() => core.flows.start('orders'), 'NQ_NOT_FOUND', 'known are order')
  })

  test('names everything that its schema refuses', async () => {
    const { core } = await Home.open()
    const schema = z.object({ items: z.array(z.object({ sku: z.string() })), note: z.string() })
    core.flows.define({ ...flow, entry: { ...flow.entry, schema } })
    const error = await failure(() => core.flows.start('order', { items: [{ sku: 'a' }, { sku: 7 }] }))
    expect(error.code).toBe('NQ_VALIDATION')
    expect(error.message).toContain('items.1.sku: ')
    expect(error.message).toContain('note: ')
    expect(await core.flows.runs('order')).toEqual([])
  })

  test('hands the handler what the schema makes of the input', async () => {
    const home = await Home.open()
    const schema = z.object({ at: z.coerce.date(), n: z.number().default(7) })
    let seen: unknown
    const run = await home.run(
      (input) => {
        seen = input
      },
      {
        input: { at: '2025-01-01T00:00:00Z' },
        step: { schema },
      },
    )
    await run.result()
    expect(seen).toEqual({ at: new Date('2025-01-01T00:00:00Z'), n: 7 })
    expect(await run.events('flow.started')).toMatchObject([{ input: { at: '2025-01-01T00:00:00Z' } }])
  })

  test('refuses what JSON can’t hold, and says where', async () => {
    const { core } = await Home.open()
    core.flows.define(flow)
    await refuses(() => core.flows.start('order', { n: { big: 1n } }), 'NQ_INVALID_EVENT', 'input.n.big is a BigInt')
  })

  test('with an id of its own is made once', async () => {
    const { core } = await Home.open()
    core.flows.define(flow)
    const options = { runId: 'order-7', triggeredBy: 'cart' }
    const started = await Promise.all([1, 2, 3].map((n) => core.flows.start('order', { n }, options)))
    expect(started).toEqual(Array(3).fill({ runId: 'order-7' }))
    expect(await core.store.query({ stream: 'nq:flow:order-7' })).toHaveLength(1)
    expect(await core.flows.status('order-7')).toMatchObject({
      triggeredBy: 'cart',
      steps: { pack: { status: 'queued' } },
    })
  })
})

describe('a run', () => {
  test('goes from step to step, joins, and takes events from outside', async () => {
    const home = await Home.open()
    const { core, clock } = home
    core.flows.define(flow)
    let shipped: unknown
    await core.worker('orders', {
      pack: async (input, ctx) => ctx.flow.emit('packed', { parcels: input.items }),
      ship: (input) => {
        shipped = input
      },
    })
    await core.worker('billing', {
      invoice: async ({ parcels }, ctx) => {
        await ctx.flow.emit('invoiced', parcels * 10)
        await ctx.await.time('1h')
      },
    })
    const { runId } = await core.flows.start('order', { items: 2 })
    await clock.settle()
    expect(shipped).toBeUndefined()
    await clock.advance('1m')
    const jobs: StepJob[] = await core.flows.emit(runId, 'paid', 'cash')
    expect(jobs).toMatchObject([
      { queue: 'orders', name: 'ship', jobId: `${runId}__ship`, data: { runId, attempt: 1 } },
    ])
    await clock.advance('1h')
    expect(shipped).toEqual({ packed: { parcels: 2 }, invoiced: 20, paid: 'cash' })
    expect(await core.flows.status(runId)).toMatchObject({ status: 'completed' })
    await refuses(() => core.flows.emit(runId, 'paid'), 'NQ_CONFLICT', 'completed')
  })

  test('refuses events that a step does not declare', async () => {
    const { core, clock } = await Home.open()
    core.flows.define(flow)
    let thrown: NuxtQueueError | undefined
    await core.worker('orders', {
      pack: async (_, ctx) => {
        thrown = await ctx.flow.emit('shipped').catch((error) => error)
      },
    })
    await core.flows.start('order')
    await clock.settle()
    expect(thrown).toMatchObject({ code: 'NQ_VALIDATION' })
  })

  test('that is unknown is unknown to every call', async () => {
    const { core } = await Home.open()
    expect(await core.flows.status('nope')).toBeUndefined()
    await refuses(() => core.flows.explain('nope'), 'NQ_NOT_FOUND', 'nope')
    await refuses(() => core.flows.cancel('nope'), 'NQ_NOT_FOUND')
    await refuses(() => core.flows.emit('nope', 'x'), 'NQ_NOT_FOUND')
    await refuses(() => core.triggers.awaits('nope'), 'NQ_NOT_FOUND')
    await refuses(() => core.triggers.resolveAwait('nope', 'a/b/1', 1), 'NQ_NOT_FOUND')
    await refuses(() => core.triggers.cancelAwait('nope', 'a/b/1'), 'NQ_NOT_FOUND')
    expect(await core.logs.query({ runId: 'nope' })).toEqual([])
  })

  test('is listed with those of its flow, latest first', async () => {
    const { core, clock } = await Home.open()
    core.flows.define(flow)
    for (const runId of ['a', 'b', 'c']) {
      await core.flows.start('order', undefined, { runId })
      await clock.advance(1)
    }
    expect((await core.flows.runs('order')).map(({ runId }) => runId)).toEqual(['c', 'b', 'a'])
    expect((await core.flows.runs('order', { offset: 1, limit: 1 })).map(({ runId }) => runId)).toEqual(['b'])
    await refuses(() => core.flows.runs('order', { limit: 0 }), 'NQ_VALIDATION', 'limit')
    await refuses(() => core.flows.runs('order', { offset: -1 }), 'NQ_VALIDATION', 'offset')
  })

  test('is explained', async () => {
    const { core } = await Home.open()
    core.flows.define(flow)
    const { runId } = await core.flows.start('order')
    expect(await core.flows.explain(runId)).toContain('pack: queued in "orders"')
  })
})

describe('canceled', () => {
  test('a run tells its handler, whose outcome no longer counts', async () => {
    const home = await Home.open()
    let reason: NuxtQueueError | undefined
    let finish = () => {}
    const started = home.run(async (_, ctx) => {
      ctx.signal.addEventListener('abort', () => {
        reason = ctx.signal.reason
        finish()
      })
      await new Promise<void>((resolve) => {
        finish = resolve
      })
    })
    const [{ runId }] = await waitFor(async () => runsOf(home))
    expect(await home.core.flows.cancel(runId, 'not needed')).toBe(true)
    const run = await started
    expect(reason).toMatchObject({ code: 'NQ_CANCELED', message: expect.stringContaining('not needed') })
    expect(await run.status()).toMatchObject({ status: 'canceled' })
    expect(await run.types('flow.step.completed', 'flow.step.failed')).toEqual([])
    expect(await home.core.flows.cancel(runId)).toBe(false)
  })

  test('a run ends its awaits', async () => {
    const home = await Home.open()
    let thrown: unknown
    const run = await home.run(async (_, ctx) => {
      await ctx.flow.await('go').catch((error) => {
        thrown = error
      })
    })
    await home.core.flows.cancel(run.runId)
    await home.clock.settle()
    expect(thrown).toMatchObject({ code: 'NQ_CANCELED' })
    expect((await run.status()).awaits).toEqual([])
  })
})

describe('a failing step', () => {
  test('is tried again after pauses that grow, then fails its run', async () => {
    const home = await Home.open()
    const attempts: Array<[number, number]> = []
    const start = home.clock.now()
    const run = await home.run(
      (_, ctx) => {
        attempts.push([ctx.attempt, home.clock.now() - start])
        throw new RangeError(`attempt ${ctx.attempt}`)
      },
      { step: { maxAttempts: 4, backoff: { delay: '5s', maxDelay: '15s' } } },
    )
    await home.clock.advance('1h')
    expect(attempts).toEqual([
      [1, 0],
      [2, 5000],
      [3, 15_000],
      [4, 30_000],
    ])
    expect(await run.error()).toBe('attempt 4')
    const retries = await run.events('flow.step.retry')
    expect(
      retries.map(({ error, nextAttempt, maxAttempts, delay }) => [error, nextAttempt, maxAttempts, delay]),
    ).toEqual([
      ['attempt 1', 2, 4, 5000],
      ['attempt 2', 3, 4, 10_000],
      ['attempt 3', 4, 4, 15_000],
    ])
    const [failed] = await run.events('flow.step.failed')
    expect(failed?.stack).toContain('RangeError: attempt 4\n    at ')
  })

  test.each<[string, () => unknown]>([
    ['named UnrecoverableError', () => Object.assign(new Error('no'), { name: 'UnrecoverableError' })],
    ['with retryable: false', () => Object.assign(new Error('no'), { retryable: false })],
  ])('fails at once by an error %s', async (_, make) => {
    const home = await Home.open()
    const run = await home.run(
      () => {
        throw make()
      },
      { step: { maxAttempts: 5 } },
    )
    expect(await run.error()).toBe('no')
  })

  test.each<[string, unknown, string]>([
    ['a text', 'boom', "The handler threw 'boom' instead of an Error."],
    ['nothing', undefined, 'The handler threw undefined instead of an Error.'],
    ['null', null, 'The handler threw null instead of an Error.'],
    ['an object', { status: 500 }, 'The handler threw { status: 500 } instead of an Error.'],
    ['a symbol', Symbol('s'), 'The handler threw Symbol(s) instead of an Error.'],
    ['an error without a message', new TypeError(), 'TypeError'],
    [
      'a hostile object',
      new Proxy(new Error(), { get: fail, getPrototypeOf: fail }),
      "The handler threw something that can't be read.",
    ],
  ])('that throws %s says so', async (_, thrown, message) => {
    const home = await Home.open()
    const run = await home.run(() => {
      throw thrown
    })
    expect(await run.error()).toBe(message)
  })

  test('tells of causes, and of long messages as much as is of use', async () => {
    const home = await Home.open()
    const run = await home.run(() => {
      throw new Error('x'.repeat(100_000), { cause: new Error('the disk is full') })
    })
    expect((await run.error()).length).toBe(16 * 1024)
    const short = await home.run(() => {
      throw new Error('upload failed', { cause: new Error('the disk is full') })
    })
    const [failed] = await short.events('flow.failed')
    expect(failed?.stack).toContain('Caused by: Error: the disk is full')
  })

  test('stops the others of its run', async () => {
    const { core, clock } = await Home.open()
    core.flows.define({
      name: 'pair',
      entry: { step: 'both', queue: 'q' },
      steps: {
        both: { queue: 'q' },
        waits: { queue: 'q', subscribes: ['go'] },
        fails: { queue: 'q', subscribes: ['go'] },
      },
    })
    let reason: unknown
    await core.worker('q', {
      both: async (_, ctx) => ctx.flow.emit('go'),
      waits: async (_, ctx) => {
        ctx.signal.addEventListener('abort', () => {
          reason = ctx.signal.reason
        })
        await ctx.flow.await('never')
      },
      fails: async (_, ctx) => {
        await ctx.await.time('1s')
        throw new Error('no')
      },
    })
    await core.flows.start('pair')
    await clock.advance('1s')
    expect(reason).toMatchObject({ code: 'NQ_CANCELED', message: expect.stringContaining('step fails failed') })
  })

  test('is one whose input its schema refuses, whatever attempts there are', async () => {
    const home = await Home.open()
    let calls = 0
    const schema = z.object({ n: z.number() })
    home.core.flows.define({
      name: 'strict',
      entry: { step: 'first', queue: 'q' },
      steps: { first: { queue: 'q' }, second: { queue: 'q', subscribes: ['next'], maxAttempts: 3, schema } },
    })
    await home.core.worker('q', {
      first: async (_, ctx) => ctx.flow.emit('next', { n: '1' }),
      second: () => void calls++,
    })
    const { runId } = await home.core.flows.start('strict')
    await home.clock.settle()
    expect(await new Run(home, runId).error()).toMatch(/The input of step second .* does not fit its schema: n: /)
    expect(calls).toBe(0)
  })

  test.each<[string, unknown, string]>([
    ['a function', { a: [() => {}] }, 'result.a[0] is a function'],
    ['a map', new Map(), 'result is a Map'],
    ['more than an event may hold', 'x'.repeat(2 ** 20), 'The event'],
  ])('is one that returns %s', async (_, result, message) => {
    const home = await Home.open()
    const run = await home.run(() => result, { step: { maxAttempts: 3 } })
    expect(await run.error()).toContain(message)
  })
})

describe('logs', () => {
  test('are found by level, step, instance, time and number', async () => {
    const home = await Home.open({ registry: { instanceId: 'one' } })
    const run = await home.run(async (_, ctx) => {
      ctx.logger.debug('a')
      ctx.logger.info('b', { n: 1 })
      await ctx.await.time('1m')
      ctx.logger.child({ part: 'c' }).warn('c')
      ctx.logger.error('d', new Error('broken'))
    })
    await home.clock.advance('1m')
    const { runId } = run
    const found = async (filter: object) =>
      (await home.core.logs.query({ runId, ...filter })).map(({ message }) => message).join('')
    expect(await found({})).toBe('abcd')
    expect(await found({ level: 'warn' })).toBe('c')
    expect(await found({ level: ['info', 'error'] })).toBe('bd')
    expect(await found({ order: 'desc', limit: 2 })).toBe('dc')
    expect(await found({ limit: 3, level: ['debug', 'warn', 'error'] })).toBe('acd')
    expect(await found({ stepName: 'step' })).toBe('abcd')
    expect(await found({ stepName: 'other' })).toBe('')
    expect(await found({ instanceId: 'one' })).toBe('abcd')
    expect(await found({ instanceId: 'two' })).toBe('')
    expect(await found({ endTime: home.clock.now() - 1 })).toBe('ab')
    expect(await found({ startTime: new Date(home.clock.now()) })).toBe('cd')
    await refuses(() => found({ level: 'fatal' }), 'NQ_VALIDATION', 'level')
    const [info] = await home.core.logs.query({ runId, level: 'info' })
    expect(info).toMatchObject({ runId, stepName: 'step', level: 'info', message: 'b', metadata: { n: 1 }, attempt: 1 })
  })

  test('below the level of the config are not recorded', async () => {
    const home = await Home.open({ logging: { level: 'warn' } })
    const run = await home.run((_, ctx) => {
      ctx.logger.info('quiet')
      ctx.logger.warn('loud')
    })
    expect((await home.core.logs.query({ runId: run.runId })).map(({ message }) => message)).toEqual(['loud'])
  })

  test('of the original module are read, too', async () => {
    const { core } = await Home.open()
    const entry = {
      type: 'log',
      runId: 'old',
      stepName: 's',
      data: { level: 'warn', message: 'hm', file: 'a.csv' },
    } as const
    await core.store.append('nq:flow:old', entry)
    const [line] = await core.logs.query({ runId: 'old', level: 'warn' })
    expect(line).toMatchObject({ level: 'warn', message: 'hm', metadata: { file: 'a.csv' }, stepName: 's' })
  })
})

describe('a config', () => {
  test.each<[object, string]>([
    [{ flow: {} }, 'There is no option "flow"'],
    [{ flows: { suspendAfter: 'soon' } }, 'flows.suspendAfter'],
    [{ triggers: { baseUrl: 'example.com' } }, 'triggers.baseUrl'],
    [{ triggers: { secret: 7 } }, 'triggers.secret'],
    [{ logging: { level: 'loud' } }, 'logging.level'],
    [{ jobs: { prefix: '' } }, 'jobs.prefix'],
    [{ registry: { instanceId: '' } }, 'registry.instanceId'],
    [{ eventStore: { adapter: 'mongo' } }, 'adapter'],
    [{ clock: {} }, 'VirtualClock'],
  ])('with %j is refused', async (config, message) => {
    await refuses(() => open(config as never), 'NQ_CONFIG', message)
  })
})

test('a closed core refuses everything, and closes once', async () => {
  const { core } = await Home.open()
  core.flows.define(flow)
  const warnings = new Warnings()
  await Promise.all([core.close(), core.close()])
  await refuses(() => core.flows.start('order'), 'NQ_CLOSED')
  await refuses(() => core.worker('orders', { pack: () => {} }), 'NQ_CLOSED')
  await core.close()
  warnings.stop()
  expect(warnings.caught).toEqual([])
})

function fail(): never {
  throw new Error('hostile')
}

async function runsOf(home: Home) {
  const events = await home.core.store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.step.started'] })
  return events.map(({ runId }) => ({ runId: runId as string }))
}

/** What is found once something is. */
async function waitFor<T>(find: () => Promise<T[]>): Promise<[T, ...T[]]> {
  for (;;) {
    const found = await find()
    if (found.length > 0) return found as [T, ...T[]]
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
