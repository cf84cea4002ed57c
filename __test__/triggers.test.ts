/** Triggers through JavaScript: definitions, subscriptions, firings, and what people do with them. */

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { open, type QueueCore, type TriggerDefinition } from '../index.js'
import { refuses } from './support/failure.js'
import { startRedis, until } from './support/redis.js'
import { Home } from './support/runs.js'
import { Warnings } from './support/warnings.js'

/** A core with a flow `f` whose only step returns its input. */
async function home(triggers?: { subscribe: string[]; mode?: 'auto' | 'manual' }): Promise<Home> {
  const opened = await Home.open()
  const flow = { name: 'f', entry: { step: 'step', queue: 'q' }, steps: {} }
  opened.core.flows.define(triggers ? { ...flow, triggers } : flow)
  await opened.core.worker('q', { step: async (input) => input })
  return opened
}

const results = async ({ core }: Home) => {
  const runs = await core.flows.runs('f')
  const events = await Promise.all(
    runs.map(({ runId }) => core.store.query({ stream: `nq:flow:${runId}`, types: ['flow.completed'] })),
  )
  return events.map(([event]) => event?.data?.result).reverse()
}

const types = async (core: QueueCore) =>
  (await core.store.query({ stream: 'nq:triggers', types: ['trigger.*'] })).map(({ type }) => type)

describe('a trigger', () => {
  test('is what was registered, without secrets, and with its code only where that is', async () => {
    const { core } = await Home.open()
    const definition: TriggerDefinition = {
      name: 'order.paid',
      type: 'webhook',
      scope: 'flow',
      displayName: 'Paid',
      description: 'A customer paid',
      source: 'shop',
      tags: ['money'],
      schema: z.object({ id: z.string() }),
      transform: ({ id }) => ({ orderId: id }),
      endpoint: {
        path: '/hooks/paid',
        auth: { type: 'signature', provider: 'github', secret: ['new-secret', 'old-secret'] },
        maxBodyBytes: 1000,
      },
      ui: { icon: 'coin', form: [{ name: 'id', required: true }] },
      config: {
        filter: () => true,
        persistData: true,
        retentionDays: 3,
        rateLimit: { max: 5, window: '1m' },
        deduplicate: { key: 'orderId', window: 1000 },
      },
    }
    await core.registerTrigger(definition)
    const { secret: _secret, ...auth } = definition.endpoint?.auth ?? { type: 'ip' }
    expect(core.triggers.get('order.paid')).toEqual({
      ...definition,
      endpoint: { ...definition.endpoint, auth },
      config: { ...definition.config, persistData: undefined, rateLimit: { max: 5, window: 60_000 } },
      ...{ enabled: true, subscribers: [] },
    })
    const [event] = await core.store.query({ stream: 'nq:triggers' })
    expect(event?.data).toMatchObject({ definition: { code: ['filter', 'schema', 'secrets', 'transform'] } })
    expect(JSON.stringify(event)).not.toContain('-secret')
  })

  test('is recorded once, changed, disabled and removed', async () => {
    const { core } = await home()
    for (let n = 0; n < 20; n++) await core.triggers.register({ name: 't', type: 'event' })
    await core.triggers.update('t', { displayName: 'T', tags: ['x'], config: { persistData: false } })
    await core.triggers.update('t', { displayName: null, config: { retentionDays: 1 } })
    await core.triggers.update('t', { tags: undefined } as never)
    await core.triggers.disable('t')
    await core.triggers.disable('t')
    expect(core.triggers.get('t')).toEqual({
      ...{ name: 't', type: 'event', tags: ['x'], config: { retentionDays: 1 }, enabled: false, subscribers: [] },
    })
    await core.triggers.enable('t')
    expect(await core.triggers.remove('t')).toBe(true)
    expect(await core.triggers.remove('t')).toBe(false)
    expect(core.triggers.get('t')).toBeUndefined()
    expect(await types(core)).toEqual([
      ...['trigger.registered', 'trigger.updated', 'trigger.updated', 'trigger.disabled', 'trigger.enabled'],
      'trigger.removed',
    ])
  })

  test('is found by type, scope and tag', async () => {
    const { core } = await Home.open()
    await core.triggers.register({ name: 'b', type: 'event', scope: 'run', tags: ['x'] })
    await core.triggers.register({ name: 'a', type: 'manual', tags: ['x', 'y'] })
    const names = (filter?: object) => core.triggers.list(filter).map(({ name }) => name)
    expect([
      names(),
      names({ type: 'manual' }),
      names({ scope: 'run' }),
      names({ tag: 'x' }),
      names({ tag: 'z' }),
    ]).toEqual([...[['a', 'b'], ['a'], ['b'], ['a', 'b'], []]])
  })

  test.each<[string, unknown, RegExp]>([
    ['no object', 5, /The trigger is 5/],
    ['an unknown member', { name: 't', type: 'event', colour: 1 }, /no member "colour"/],
    ['no name', { type: 'event' }, /name is undefined/],
    ['an unknown type', { name: 't', type: 'cron' }, /type is "cron".*webhook/],
    ['an unknown scope', { name: 't', type: 'event', scope: 'all' }, /scope is "all"/],
    ['a schema that is none', { name: 't', type: 'event', schema: {} }, /schema is an object/],
    ['a transform that is none', { name: 't', type: 'event', transform: 'x' }, /transform is "x"/],
    ['tags that are none', { name: 't', type: 'event', tags: 'x' }, /tags is "x"/],
    ['a window that is none', { name: 't', type: 'event', config: { debounce: 'soon' } }, /config.debounce is "soon"/],
    ['what JSON can not hold', { name: 't', type: 'event', ui: { icon: 5n } }, /ui\.icon/],
    ['a secret that is none', webhook({ type: 'bearer', secret: 5 }), /auth\.secret is an? \w+;/],
  ])('is refused with %s', async (_, definition, message) => {
    const { core } = await Home.open()
    const error = await core.triggers.register(definition as TriggerDefinition).catch((error) => error)
    expect(error).toMatchObject({ name: 'NuxtQueueError', message: expect.stringMatching(message) })
    expect(core.triggers.list()).toEqual([])
    expect(await types(core)).toEqual([])
  })

  test('that can not work is refused with every reason', async () => {
    const { core } = await Home.open()
    await core.triggers.register(webhook({ type: 'bearer', secret: 's3cret-value' }, '/taken/:id') as TriggerDefinition)
    const broken = {
      ...webhook({
        type: 'signature',
        provider: 'stripe',
        algorithm: 'sha1',
        allow: ['10.0.0.0/99'],
        toleranceSeconds: 1e9,
      }),
      ...{ name: 'broken', config: { rateLimit: { max: 0, window: '1s' } } },
      ui: { form: [{ name: 'a' }, { name: 'a' }, {}] },
    } as TriggerDefinition
    const error = await core.triggers.register(broken).catch((error) => error)
    expect(error.code).toBe('NQ_CONFIG')
    for (const part of [
      'needs a secret',
      '10.0.0.0/99',
      'algorithm',
      'rateLimit.max',
      'two fields',
      'ui.form[2] has no name',
    ])
      expect(error.message).toContain(part)
    const clash = { ...webhook({ type: 'bearer', secret: 'x' }, '/taken/:other'), name: 'clash' } as TriggerDefinition
    await refuses(() => core.triggers.register(clash), 'NQ_CONFIG', '"w"')
    const unresolved = {
      ...webhook({ type: 'bearer', secretRef: 'NOWHERE_SET' }, '/x'),
      name: 'x',
    } as TriggerDefinition
    await refuses(() => core.triggers.register(unresolved), 'NQ_CONFIG', 'NOWHERE_SET')
    const unknown = { ...webhook({ type: 'signature', provider: 'acme', secret: 'x' }, '/x'), name: 'x' } as never
    await refuses(() => core.triggers.register(unknown), 'NQ_VALIDATION', 'acme')
    expect(core.triggers.list()).toHaveLength(1)
  })

  test('has a form that fits its schema', async () => {
    const { core } = await Home.open()
    const schema = z.object({ amount: z.number(), note: z.string().optional() })
    const register = (fields: string[]) =>
      core.triggers.register({ name: 'm', type: 'manual', schema, ui: { form: fields.map((name) => ({ name })) } })
    await register(['amount', 'note'])
    await register(['amount'])
    await refuses(() => register(['amount', 'colour']), 'NQ_CONFIG', '"colour", which the schema does not have')
    await refuses(() => register(['note']), 'NQ_CONFIG', 'no field for "amount"')
  })
})

describe('a firing', () => {
  test('starts a run of each flow that subscribes, by definition or at run time', async () => {
    const opened = await home({ subscribe: ['user.created'] })
    const { core, clock } = opened
    core.flows.define({ name: 'g', entry: { step: 'step', queue: 'q' }, steps: {} })
    await core.triggers.subscribe('user.created', 'g')
    const firing = await core.triggers.emit('user.created', { id: 7 })
    await clock.settle()
    expect(firing).toMatchObject({ status: 'processed', runs: [{ flowName: 'f' }, { flowName: 'g' }], data: { id: 7 } })
    expect(await results(opened)).toEqual([{ id: 7 }])
    const { resumed: _resumed, ...known } = firing
    expect(await core.triggers.runs('user.created')).toEqual([{ ...known, resumed: [] }])
    expect(await core.triggers.stats()).toEqual({ total: 0, byStatus: {} })
    expect(await core.triggers.stats('user.created')).toEqual({ total: 1, byStatus: { processed: 1 } })
    expect(await core.triggers.unsubscribe('user.created', 'g')).toBe(true)
    expect((await core.triggers.emit('user.created')).runs).toHaveLength(1)
    // Defined anew, without it.
    core.flows.define({ name: 'f', entry: { step: 'step', queue: 'q' }, steps: {} }, { replace: true })
    expect((await core.triggers.emit('user.created')).runs).toEqual([])
  })

  test('has what schema, filter and transform make of its payload', async () => {
    const opened = await home({ subscribe: ['t'] })
    const { core, clock } = opened
    const seen: unknown[] = []
    await core.triggers.register({
      ...{ name: 't', type: 'event', schema: z.object({ n: z.coerce.number() }) },
      transform: ({ n }, context) => [n, seen.push(context)],
      config: { filter: async ({ n }) => n > 1 },
    })
    expect(await core.triggers.emit('t', { n: '7' })).toMatchObject({ data: [7, 1] })
    expect(await core.triggers.emit('t', { n: 1 })).toMatchObject({
      status: 'skipped',
      reason: expect.stringMatching(/filter/),
    })
    await refuses(() => core.triggers.emit('t', { n: 'x' }), 'NQ_VALIDATION', 'n: ')
    await clock.settle()
    expect(await results(opened)).toEqual([[7, 1]])
    expect(seen).toEqual([{ triggerName: 't' }])
    expect(await core.triggers.stats('t')).toEqual({ total: 2, byStatus: { processed: 1, skipped: 1 } })
  })

  test.each<[string, Partial<TriggerDefinition>]>([
    ['filter', { config: { filter: () => Promise.reject(new Error('broken')) } }],
    [
      'transform',
      {
        transform: () => {
          throw new Error('broken')
        },
      },
    ],
  ])('whose %s throws is refused with the cause', async (name, members) => {
    const { core } = await Home.open()
    await core.triggers.register({ name: 't', type: 'event', ...members })
    await refuses(() => core.triggers.emit('t', 1), 'NQ_VALIDATION', `${name} of the trigger "t" failed: broken`)
    await core.triggers.register({ name: 'u', type: 'event', transform: () => 5n })
    await refuses(() => core.triggers.emit('u', 1), 'NQ_INVALID_EVENT')
    expect(await core.triggers.stats()).toEqual({ total: 0, byStatus: {} })
  })

  test('is left to a person, who starts the run or does not', async () => {
    const opened = await home({ subscribe: ['t'], mode: 'manual' })
    const { core, clock } = opened
    const fired = [await core.triggers.emit('t', 1), await core.triggers.emit('t', 2)]
    expect(fired.map(({ runs }) => runs)).toEqual([[], []])
    const [first, second] = await core.triggers.pending({ flowName: 'f' })
    expect([first?.fireId, second?.fireId]).toEqual(fired.map(({ fireId }) => fireId))
    expect(await core.triggers.pending({ triggerName: 'other' })).toEqual([])
    const { runId } = await core.triggers.start(first?.fireId as string, 'f', { userId: 'u-7' })
    await core.triggers.dismiss(second?.fireId as string, 'f', { reason: 'not now' })
    await clock.settle()
    expect(await results(opened)).toEqual([1])
    expect(await core.triggers.pending()).toEqual([])
    expect((await core.triggers.runs('t')).map(({ runs }) => runs)).toEqual([[], [{ flowName: 'f', runId }]])
    await refuses(() => core.triggers.start(first?.fireId as string, 'f'), 'NQ_NOT_FOUND')
  })

  test('is what a function of the flow says', async () => {
    const opened = await Home.open()
    const { core, clock } = opened
    const mode = async (n: number) => (['auto', 'manual', 'skip', 'never'] as const)[n] as 'auto'
    core.flows.define({
      ...{ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} },
      triggers: { subscribe: ['t'], mode },
    })
    await core.worker('q', { s: async (input) => input })
    for (const n of [0, 1, 2]) await core.triggers.emit('t', n)
    await refuses(() => core.triggers.emit('t', 3), 'NQ_VALIDATION', 'returned "never"')
    await clock.settle()
    expect(await results(opened)).toEqual([0])
    expect(await core.triggers.pending()).toHaveLength(1)
  })

  test('by hand says who', async () => {
    const { core } = await home()
    await refuses(() => core.triggers.execute('m'), 'NQ_NOT_FOUND')
    await core.triggers.register({ name: 'm', type: 'manual' })
    await core.triggers.subscribe('m', 'f')
    expect(await core.triggers.execute('m', { a: 1 }, { userId: 'u-7' })).toMatchObject({
      userId: 'u-7',
      runs: [{ flowName: 'f' }],
    })
    expect(await core.triggers.runs('m', { limit: 1 })).toMatchObject([{ userId: 'u-7', data: { a: 1 } }])
  })

  test('waits until it is quiet, by the clock', async () => {
    const opened = await home({ subscribe: ['t'] })
    const { core, clock } = opened
    await core.triggers.register({ name: 't', type: 'event', config: { debounce: '10s' } })
    for (const n of [1, 2, 3]) {
      expect(await core.triggers.emit('t', n)).toMatchObject({ status: 'fired', runs: [] })
      await clock.advance('6s')
    }
    expect(await results(opened)).toEqual([])
    await clock.advance('4s')
    expect(await results(opened)).toEqual([3])
    expect((await core.triggers.runs('t')).map(({ status }) => status)).toEqual(['processed', 'skipped', 'skipped'])
  })

  test('is limited, and says when to come again', async () => {
    const { core, clock } = await home()
    await core.triggers.register({ name: 't', type: 'event', config: { rateLimit: { max: 1, window: '1m' } } })
    await core.triggers.emit('t')
    await clock.advance('15s')
    expect(await core.triggers.emit('t')).toMatchObject({ status: 'skipped', retryAfter: 45_000 })
    const [refused] = await core.triggers.runs('t', { status: 'skipped' })
    expect(await core.triggers.retry(refused?.fireId as string)).toMatchObject({ status: 'processed' })
    await refuses(() => core.triggers.retry(refused?.fireId as string), 'NQ_CONFLICT')
    await refuses(() => core.triggers.runs('t', { status: 'odd' as never }), 'NQ_VALIDATION')
    await refuses(() => core.triggers.runs('t', { limit: 0 }), 'NQ_VALIDATION')
  })

  test('answers awaits and starts runs alike', async () => {
    const opened = await home({ subscribe: ['go'] })
    const run = await opened.run((_, ctx) => ctx.flow.await('go'))
    const firing = await opened.core.triggers.emit('go', 5)
    await opened.clock.settle()
    expect(firing).toMatchObject({ resumed: [run.runId], runs: [{ flowName: 'f' }] })
    expect([await run.result(), await results(opened)]).toEqual([5, [5]])
  })

  test('of a trigger that only answers awaits starts nothing', async () => {
    const warnings = new Warnings()
    const { core } = await home()
    await core.triggers.register({ name: 'r', type: 'event', scope: 'run' })
    await refuses(() => core.triggers.subscribe('r', 'f'), 'NQ_VALIDATION', "scope is 'run'")
    core.flows.define({ ...{ name: 'g', entry: { step: 's', queue: 'q' }, steps: {} }, triggers: { subscribe: ['r'] } })
    expect((await core.triggers.emit('r')).runs).toEqual([])
    await new Promise(setImmediate)
    warnings.stop()
    expect(warnings.caught.map(({ message }) => message).join()).toContain('The flow g does not subscribe')
  })
})

test('instances hear of each other, and refuse what needs code that they do not have', async () => {
  const server = await startRedis()
  const config = { eventStore: { adapter: 'redis', redis: { url: server.url } } } as const
  const [one, two] = [await open(config), await open(config)]
  await one.triggers.register({ name: 'plain', type: 'event' })
  await one.triggers.register({ name: 'checked', type: 'event', schema: z.object({ n: z.number() }) })
  await until(() => two.triggers.list().length === 2, 'both triggers')
  expect(two.triggers.get('checked')?.schema).toBeUndefined()
  await refuses(() => two.triggers.emit('checked', { n: 1 }), 'NQ_CONFIG', 'schema, which this process does not have')
  // Who changes something else takes no code away, neither that of others nor its own.
  await two.triggers.update('checked', { displayName: 'Checked' })
  await refuses(() => two.triggers.emit('checked', { n: 1 }), 'NQ_CONFIG', 'schema, which this process does not have')
  await one.triggers.update('checked', { schema: undefined, tags: ['x'] } as never)
  await refuses(() => one.triggers.emit('checked', { n: 'x' }), 'NQ_VALIDATION', 'n: ')
  await one.triggers.update('checked', { schema: null })
  expect(await two.triggers.emit('checked', { n: 'x' })).toMatchObject({ status: 'processed' })
  await two.triggers.disable('plain')
  await until(() => one.triggers.get('plain')?.enabled === false, 'the news')
  expect(await one.triggers.emit('plain', 1)).toMatchObject({ status: 'skipped' })
  // A flow that only the other defines runs by the plan on record.
  two.flows.define({
    ...{ name: 'f', entry: { step: 's', queue: `q-${process.pid}` }, steps: {} },
    triggers: { subscribe: ['later'] },
  })
  await two.worker(`q-${process.pid}`, { s: async (input) => input })
  await until(async () => (await one.triggers.emit('later', 7)).runs.length === 1, 'the subscription')
  await until(async () => (await one.flows.runs('f')).some(({ status }) => status === 'completed'), 'the run')
  await Promise.all([one.close(), two.close()])
  // A restart finds everything.
  const three = await open(config)
  await until(() => three.triggers.list().length === 2, 'both triggers')
  expect(three.triggers.get('plain')?.enabled).toBe(false)
  await three.close()
  await server.stop()
}, 30_000)

function webhook(auth: object, path = '/w'): object {
  return { name: 'w', type: 'webhook', endpoint: { path, auth } }
}
