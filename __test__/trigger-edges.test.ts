/** Triggers and webhooks at their edges: odd requests, code that misbehaves, calls that overlap. */

import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { open, type TriggerDefinition, type WebhookAuth, type WebhookRequest } from '../index.js'
import { refuses } from './support/failure.js'
import { startRedis, until } from './support/redis.js'
import { Home } from './support/runs.js'
import { Warnings } from './support/warnings.js'

const SECRET = 'a-very-secret-text'
const github: WebhookAuth = { type: 'signature', provider: 'github', secret: SECRET }
const json = { 'content-type': 'application/json' }

const request = (given: Partial<WebhookRequest> & { text?: string } = {}): WebhookRequest => {
  const { text = '{}', ...members } = given
  return { method: 'POST', path: '/w', headers: json, body: Buffer.from(text), ...members }
}

const signed = (text: string, secret = SECRET): WebhookRequest => {
  const signature = createHmac('sha256', secret).update(text).digest('hex')
  return request({ text, headers: { ...json, 'x-hub-signature-256': `sha256=${signature}` } })
}

/** A core with a webhook `w` at `/w` that starts runs of the flow `f`. */
async function home(endpoint: Partial<TriggerDefinition['endpoint']> = {}, others: Partial<TriggerDefinition> = {}) {
  const opened = await Home.open()
  const { core, clock } = opened
  core.flows.define({ name: 'f', entry: { step: 's', queue: 'q' }, steps: {}, triggers: { subscribe: ['w'] } })
  await core.worker('q', { s: async (input) => input })
  await core.triggers.register({ name: 'w', type: 'webhook', endpoint: { path: '/w', ...endpoint }, ...others })
  const send = async (given: WebhookRequest) => {
    const { status, body } = await core.triggers.handleWebhook(given)
    return { status, said: JSON.parse(body) }
  }
  const inputs = async () => {
    await clock.settle()
    const events = await core.store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.started'] })
    return events.map(({ data }) => (data as { input?: unknown }).input)
  }
  return { core, clock, send, inputs }
}

describe('a request', () => {
  test('with very many fields is read at once', async () => {
    const { core, send, inputs } = await home(
      { maxBodyBytes: 2 << 20 },
      { transform: (fields) => Object.keys(fields).length },
    )
    const text = Array.from({ length: 120_000 }, (_, n) => n.toString(36)).join('&')
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expect(await send(request({ text, headers }))).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([120_000])
    expect(await core.triggers.deliveries('w')).toHaveLength(1)
  }, 15_000)

  test('has the query of its path, with what comes twice', async () => {
    const { core, send, inputs } = await home({ method: 'GET' })
    const path = '/w?a=1&a=2&b=3'
    const given = request({ method: 'GET', path, text: '', query: { a: '2', b: '3' } })
    expect(await send(given)).toMatchObject({ status: 200 })
    const [delivery] = await core.triggers.deliveries('w')
    await core.triggers.redeliver(delivery?.deliveryId as string, { again: true })
    expect(await inputs()).toEqual([
      { a: ['1', '2'], b: '3' },
      { a: ['1', '2'], b: '3' },
    ])
  })

  test('names its firing in the ledger', async () => {
    const { core, send } = await home()
    const { said } = await send(request())
    expect(await core.triggers.deliveries('w')).toMatchObject([{ verdict: 'accepted', fireId: said.fireId }])
  })

  test.each<[string, Partial<WebhookRequest>, number]>([
    ['a query that no event can hold', { path: `/w?a=${'x'.repeat(3 << 20)}` }, 414],
    ['the same beside its path', { query: { a: ['x'.repeat(3 << 20)] } }, 414],
    ['deep nesting', { body: Buffer.from('['.repeat(500_000) + ']'.repeat(500_000)) }, 400],
    ['half of a character', { body: Buffer.from('{"a":"\\ud800"}') }, 200],
    ['a number that is none', { body: Buffer.from('{"a":1e999}') }, 400],
    ['odd names', { body: Buffer.from('{"__proto__":{"x":1},"constructor":1,"toJSON":1}') }, 200],
    ['half of a character in its path', { path: '/w?\ud800=\udfff' }, 200],
    ['half of a character in a header', { headers: { ...json, 'user-agent': '\ud800', __proto__: 'x' } }, 200],
    ['half of a character in its address', { ip: '\ud800' }, 200],
    ['an odd method', { method: 'P\u0000ST\ud800' }, 405],
  ])('with %s is answered', async (_, given, status) => {
    const { core, send } = await home()
    expect(await send(request(given))).toMatchObject({ status })
    if (status === 200) expect(await core.triggers.runs('w')).toHaveLength(1)
    expect(({} as { x?: number }).x).toBeUndefined()
    await core.triggers.stats()
    if (status <= 400) expect(await core.triggers.deliveries('w')).toHaveLength(1)
  })

  test('that a run can not take fires once', async () => {
    const { core, send, clock } = await home()
    core.flows.define({ name: 'waits', entry: { step: 's', queue: 'waits' }, steps: {} })
    await core.worker('waits', { s: async (_, ctx) => ctx.flow.await('w') })
    let [before, untaken] = [[] as string[], 0]
    // A firing that fits into an event may not fit where there is more in the event beside it.
    for (let length = 1_048_220; length < 1_048_570; length += 30) {
      // It awaits what is fired from now on.
      await clock.advance(10)
      await core.flows.start('waits')
      await clock.settle()
      const { status, said } = await send(request({ text: JSON.stringify('x'.repeat(length)) }))
      const firings = (await core.triggers.runs('w')).map(({ fireId }) => fireId)
      expect({ status, firings }).toEqual(
        said.fireId === undefined
          ? { status: 413, firings: before }
          : { status: 200, firings: [said.fireId, ...before] },
      )
      const [waiting] = await core.flows.runs('waits', { limit: 1 })
      if (status === 200 && waiting?.status !== 'completed') untaken += 1
      before = [(await core.triggers.emit('w')).fireId, ...firings]
      await clock.settle()
    }
    expect(untaken).toBeGreaterThan(0)
  }, 30_000)

  test('is told to come again while a secret can not be had', async () => {
    const warnings = new Warnings()
    let answer = (): unknown => SECRET
    const opened = await Home.open({ triggers: { resolveSecret: () => answer() as string } })
    const auth = { type: 'signature', provider: 'github', secretRef: 'GH' } as const
    await opened.core.triggers.register({ name: 'w', type: 'webhook', endpoint: { path: '/w', auth } })
    const handle = () => opened.core.triggers.handleWebhook(signed('1'))
    for (const odd of [
      () => Promise.reject(new Error('the vault is sealed')),
      () => 5,
      () => [5],
      () => ({}),
      () => null,
    ]) {
      answer = odd
      expect(await handle()).toMatchObject({ status: 503, headers: { 'retry-after': expect.any(String) } })
    }
    answer = () => SECRET
    expect(await handle()).toMatchObject({ status: 200 })
    answer = () => Promise.reject(new Error('the vault is sealed'))
    const again = { name: 'x', type: 'webhook', endpoint: { path: '/x', auth } } as const
    await refuses(() => opened.core.triggers.register(again), 'NQ_CONFIG', 'GH')
    await new Promise(setImmediate)
    warnings.stop()
  })
})

describe('a recorded request', () => {
  test.each<[string, WebhookAuth | undefined, Record<string, string>]>([
    ['without a check', undefined, {}],
    ['with credentials', { type: 'bearer', secret: SECRET }, { authorization: `Bearer ${SECRET}` }],
    [
      'with credentials and an id',
      { type: 'bearer', secret: SECRET, idHeader: 'x-id' },
      { authorization: `Bearer ${SECRET}`, 'x-id': '7' },
    ],
  ])('%s fires once, however often it is handled again', async (_, auth, headers) => {
    const { core, send, inputs } = await home(auth && { auth }, { schema: z.string() })
    const id = async () => (await core.triggers.deliveries('w'))[0]?.deliveryId as string
    const again = async (deliveryId: string, options = {}) =>
      JSON.parse((await core.triggers.redeliver(deliveryId, options)).body)
    const { said } = await send(request({ text: '"a"', headers: { ...json, ...headers } }))
    expect(await again(await id())).toEqual({ status: 'repeated', fireId: said.fireId })
    expect(await send(request({ text: '5', headers: { ...json, ...headers, 'x-id': '8' } }))).toMatchObject({
      status: 400,
    })
    const refused = await id()
    await again(refused)
    const refusedAgain = await id()
    await core.triggers.update('w', { schema: z.number() })
    expect(await again(refused)).toMatchObject({ status: 'accepted' })
    expect(await again(refusedAgain)).toMatchObject({ status: 'repeated' })
    expect(await again(refused)).toMatchObject({ status: 'repeated' })
    expect(await again(await id())).toMatchObject({ status: 'repeated' })
    expect(new Set(await inputs())).toEqual(new Set(['a', 5]))
    expect(await again(refused, { again: true })).toMatchObject({ status: 'accepted' })
    expect(await inputs()).toHaveLength(3)
  })

  test('with an id is the same when the provider sends it again', async () => {
    const auth: WebhookAuth = { type: 'bearer', secret: SECRET, idHeader: 'x-id' }
    const { core, send, inputs } = await home({ auth }, { schema: z.string() })
    const headers = { ...json, authorization: `Bearer ${SECRET}`, 'x-id': '7' }
    await send(request({ text: '5', headers }))
    await core.triggers.update('w', { schema: z.number() })
    const [delivery] = await core.triggers.deliveries('w')
    expect(await core.triggers.redeliver(delivery?.deliveryId as string)).toMatchObject({ status: 200 })
    expect(await send(request({ text: '5', headers }))).toMatchObject({ said: { status: 'repeated' } })
    expect(await inputs()).toEqual([5])
  })
})

describe('code', () => {
  test('of a flow that was defined anew is gone', async () => {
    const { core } = await Home.open()
    const flow = { name: 'f', entry: { step: 's', queue: 'q' }, steps: {} }
    const mode = () => {
      throw new Error('gone')
    }
    core.flows.define({ ...flow, triggers: { subscribe: ['t', 'u'], mode } })
    await refuses(() => core.triggers.emit('t'), 'NQ_VALIDATION', 'gone')
    core.flows.define({ ...flow, triggers: { subscribe: ['u'] } }, { replace: true })
    expect(await core.triggers.emit('t')).toMatchObject({ status: 'processed', runs: [] })
    expect((await core.triggers.emit('u')).runs).toHaveLength(1)
  })

  test('of a subscription stays when a name is removed that was not there', async () => {
    const { core } = await Home.open()
    const flow = { name: 'f', entry: { step: 's', queue: 'q' }, steps: {} }
    core.flows.define({ ...flow, triggers: { subscribe: ['t'], mode: () => 'auto' } })
    await core.triggers.emit('t')
    expect(await core.triggers.remove('t')).toBe(false)
    expect((await core.triggers.emit('t')).runs).toHaveLength(1)
  })

  test('that changes what it is given changes nothing else', async () => {
    const { core, clock } = await Home.open()
    for (const name of ['f', '__proto__']) {
      const mode = (payload: { seen?: string[] }) => {
        payload.seen = [...(payload.seen ?? []), name]
        return 'auto' as const
      }
      core.flows.define({
        ...{ name, entry: { step: 's', queue: 'q' }, steps: {}, triggers: { subscribe: ['t', 'u'], mode } },
      })
    }
    await core.triggers.register({ name: 'u', type: 'event', transform: (payload) => payload })
    for (const name of ['t', 'u']) {
      const payload = { n: 1 }
      const firing = await core.triggers.emit(name, payload)
      expect(firing).toMatchObject({ data: { n: 1 }, runs: [{}, {}] })
      expect([payload, firing.data]).toEqual([{ n: 1 }, { n: 1 }])
      expect(await core.triggers.runs(name)).toMatchObject([{ data: { n: 1 } }])
    }
    await clock.settle()
    const started = await core.store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.started'] })
    expect(started.map(({ data }) => (data as { input: unknown }).input)).toEqual(Array(4).fill({ n: 1 }))
  })

  test('decides when a firing is retried that was skipped', async () => {
    const { core } = await Home.open()
    const seen: unknown[] = []
    core.flows.define({
      ...{ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} },
      triggers: { subscribe: ['t'], mode: (...given) => (seen.push(given) > 0 ? 'auto' : 'skip') },
    })
    await core.triggers.register({ name: 't', type: 'event' })
    await core.triggers.disable('t')
    const { fireId } = await core.triggers.emit('t', { n: 1 })
    await core.triggers.enable('t')
    seen.length = 0
    expect(await core.triggers.retry(fireId)).toMatchObject({ status: 'processed', runs: [{ flowName: 'f' }] })
    expect(seen).toEqual([[{ n: 1 }, { triggerName: 't', flowName: 'f' }]])
    await refuses(() => core.triggers.retry(fireId), 'NQ_CONFLICT')
  })

  test('of changes at the same time is kept', async () => {
    const { core } = await Home.open()
    await core.triggers.register({ name: 't', type: 'event' })
    await Promise.all([
      core.triggers.update('t', { schema: z.object({ n: z.number() }) }),
      core.triggers.update('t', { transform: ({ n }) => n + 1 }),
      core.triggers.update('t', { config: { filter: ({ n }) => n > 0 } }),
      core.triggers.update('t', { displayName: 'T' }),
    ])
    expect(await core.triggers.emit('t', { n: 1 })).toMatchObject({ data: 2 })
    await refuses(() => core.triggers.emit('t', { n: 'x' }), 'NQ_VALIDATION')
    expect(await core.triggers.emit('t', { n: 0 })).toMatchObject({ status: 'skipped' })
    expect(core.triggers.get('t')).toMatchObject({ displayName: 'T' })
  })

  test('hanging in a transform holds neither other firings nor the end', async () => {
    const opened = await open({ eventStore: { adapter: 'memory' } })
    await opened.triggers.register({ name: 'slow', type: 'event', transform: () => new Promise(() => {}) })
    void opened.triggers.emit('slow', 1)
    expect(await opened.triggers.emit('other', 1)).toMatchObject({ status: 'processed' })
    await opened.close()
  })
})

test('a secret that was replaced by a name is no secret any more, wherever it was registered', async () => {
  const server = await startRedis()
  const config = {
    eventStore: { adapter: 'redis', redis: { url: server.url } },
    triggers: { resolveSecret: () => 'another-long-secret' },
  } as const
  const [one, two] = [await open(config), await open(config)]
  const hook = (auth: WebhookAuth): TriggerDefinition => ({
    name: 'w',
    type: 'webhook',
    endpoint: { path: '/w', auth },
  })
  await one.triggers.register(hook(github))
  expect(await one.triggers.handleWebhook(signed('1'))).toMatchObject({ status: 200 })
  await two.triggers.register(hook({ type: 'signature', provider: 'github', secretRef: 'GH' }))
  await until(() => one.triggers.get('w')?.endpoint?.auth?.secretRef === 'GH', 'the news')
  expect(await one.triggers.handleWebhook(signed('2'))).toMatchObject({ status: 401 })
  expect(await one.triggers.handleWebhook(signed('2', 'another-long-secret'))).toMatchObject({ status: 200 })
  await Promise.all([one.close(), two.close()])
  await server.stop()
}, 30_000)
