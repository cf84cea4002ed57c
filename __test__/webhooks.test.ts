/** Webhooks end to end: requests in, runs, answers and ledger out. */

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

/** A core with a webhook `w` at `/w` that starts runs of the flow `f`, which return what they are given. */
async function home(endpoint: Partial<TriggerDefinition['endpoint']> = {}, others: Partial<TriggerDefinition> = {}) {
  const opened = await Home.open()
  const flow = { name: 'f', entry: { step: 's', queue: 'q' }, steps: {}, triggers: { subscribe: ['w'] } }
  opened.core.flows.define(flow)
  await opened.core.worker('q', { s: async (input) => input })
  await opened.core.triggers.register({ name: 'w', type: 'webhook', endpoint: { path: '/w', ...endpoint }, ...others })
  const send = (request: Partial<WebhookRequest> & { text?: string }) => post(opened, request)
  const inputs = async () => {
    await opened.clock.settle()
    const events = await opened.core.store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.started'] })
    const found = events.map(({ data }) => (data as { input?: unknown }).input)
    return found.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
  }
  return { ...opened, core: opened.core, clock: opened.clock, send, inputs }
}

async function post(
  { core }: Pick<Home, 'core'>,
  { text = '{}', ...request }: Partial<WebhookRequest> & { text?: string },
) {
  const { status, headers, body } = await core.triggers.handleWebhook({
    ...{ method: 'POST', path: '/w', headers: { 'content-type': 'application/json' }, body: Buffer.from(text) },
    ...request,
  })
  expect(headers['content-type']).toBe('application/json')
  return { status, headers, said: JSON.parse(body) }
}

const signature = (text: string | Uint8Array, secret = SECRET) =>
  `sha256=${createHmac('sha256', secret).update(text).digest('hex')}`

const signed = (text: string, id = '1') => ({
  text,
  headers: { 'Content-Type': 'application/json', 'X-Hub-Signature-256': signature(text), 'X-GitHub-Delivery': id },
})

describe('a request', () => {
  test('that is genuine starts a run, once, and stands in the ledger', async () => {
    const { core, send, inputs } = await home({ auth: github })
    const first = await send(signed('{"n":1}'))
    expect(first).toMatchObject({ status: 200, said: { status: 'accepted', fireId: expect.any(String) } })
    // Sent again, even under another id, which is not signed.
    expect(await send(signed('{"n":1}', '2'))).toMatchObject({
      status: 200,
      said: { status: 'repeated', fireId: first.said.fireId },
    })
    expect(await send(signed('{"n":2}'))).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ n: 1 }, { n: 2 }])
    const ledger = await core.triggers.deliveries('w')
    expect(ledger.map(({ verdict }) => verdict)).toEqual(['accepted', 'repeated', 'accepted'])
    expect(ledger[2]).toEqual({
      ...{ deliveryId: expect.any(String), timestamp: '2025-01-01T00:00:00.000Z', verdict: 'accepted', status: 200 },
      ...{
        fireId: first.said.fireId,
        providerId: '1',
        key: expect.stringMatching(/^digest:/),
        method: 'POST',
        path: '/w',
        bytes: 7,
        body: '{"n":1}',
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      headers: {
        'content-type': 'application/json',
        'x-hub-signature-256': signature('{"n":1}'),
        'x-github-delivery': '1',
      },
    })
    expect(await core.triggers.deliveries('w', { verdict: 'repeated', limit: 5 })).toMatchObject([
      { fireId: first.said.fireId },
    ])
  })

  test('that is not genuine is told nothing, and leaves its reason', async () => {
    const { core, send, inputs } = await home({ auth: { ...github, allow: ['10.0.0.0/8'] } })
    const ip = '10.1.2.3'
    const attempts = [
      await send({ ...signed('{}'), ip: '11.0.0.1' }),
      await send({ text: '{}', ip }),
      await send({ ...signed('{}'), text: '{ }', ip }),
      await send({ text: '{}', ip, headers: { 'x-hub-signature-256': signature('{}', 'another') } }),
    ]
    for (const { headers: _headers, ...answer } of attempts)
      expect(answer).toEqual({ status: 401, said: { error: 'unauthorized' } })
    expect(await inputs()).toEqual([])
    const reasons = (await core.triggers.deliveries('w', { verdict: 'rejected' })).map(({ reason }) => reason).reverse()
    expect(reasons).toEqual(['address-not-allowed', 'missing-signature', 'wrong-signature', 'wrong-signature'])
    expect(await core.triggers.stats('w')).toEqual({ total: 0, byStatus: {} })
  })

  test.each<[string, WebhookAuth, Partial<WebhookRequest>, Partial<WebhookRequest>]>([
    [
      'bearer',
      { type: 'bearer', secret: SECRET },
      { headers: { authorization: `Bearer ${SECRET}` } },
      { headers: { authorization: 'Bearer x' } },
    ],
    ['API key', { type: 'apikey', secret: SECRET }, { headers: { 'X-API-Key': SECRET } }, { headers: {} }],
    [
      'API key in the query',
      { type: 'apikey', query: 'key', secret: SECRET },
      { path: `/w?key=${SECRET}` },
      { path: '/w?key=x' },
    ],
    [
      'basic',
      { type: 'basic', secret: 'u:p' },
      { headers: { authorization: 'Basic dTpw' } },
      { headers: { authorization: 'Basic dTp4' } },
    ],
    ['ip', { type: 'ip', allow: ['::1', '192.0.2.0/24'] }, { ip: '::ffff:192.0.2.9' }, { ip: '192.0.3.1' }],
    ['custom', { type: 'custom', verify: async ({ body }) => body.length === 2 }, {}, { body: Buffer.from('{} ') }],
    [
      'custom that throws',
      {
        type: 'custom',
        verify: ({ headers }) => {
          if (headers.bad) throw new Error('x')
          return true
        },
      },
      {},
      { headers: { bad: 'x' } },
    ],
  ])('by %s is let in, or not', async (_, auth, good, bad) => {
    const { core, send } = await home({ auth })
    const json = (request: Partial<WebhookRequest>) => ({
      ...request,
      headers: { 'content-type': 'application/json', ...request.headers },
    })
    expect(await send(json(good))).toMatchObject({ status: 200 })
    expect(await send(json(bad))).toMatchObject({ status: 401, said: { error: 'unauthorized' } })
    expect(JSON.stringify(await core.triggers.deliveries('w'))).not.toContain(SECRET)
  })

  test('goes to the trigger of its path and method', async () => {
    const { core, send, clock } = await home({ path: '/hooks/:tenant/orders', method: 'put' })
    const contexts: unknown[] = []
    await core.triggers.update('w', {
      transform: (payload, context) => {
        contexts.push(context)
        return payload
      },
    })
    expect(await send({ path: '/nowhere' })).toMatchObject({ status: 404 })
    expect(await send({ path: '/hooks/a/orders' })).toMatchObject({ status: 405, headers: { allow: 'PUT' } })
    expect(await send({ path: '/hooks/caf%C3%A9/orders/?a=1', method: 'PUT' })).toMatchObject({ status: 200 })
    expect(contexts).toEqual([
      {
        triggerName: 'w',
        params: { tenant: 'café' },
        query: { a: '1' },
        headers: { 'content-type': 'application/json' },
      },
    ])
    await core.triggers.disable('w')
    expect(await send({ path: '/hooks/a/orders', method: 'PUT' })).toMatchObject({ status: 404 })
    await core.triggers.enable('w')
    await core.triggers.update('w', { endpoint: { path: '/moved' } })
    expect(await send({ path: '/hooks/a/orders', method: 'PUT' })).toMatchObject({ status: 404 })
    expect(await send({ path: '/moved' })).toMatchObject({ status: 200 })
    await core.triggers.remove('w')
    expect(await send({ path: '/moved' })).toMatchObject({ status: 404 })
    await clock.settle()
  })

  test.each<[string, Partial<WebhookRequest>, number, unknown]>([
    [
      'JSON',
      { headers: { 'content-type': 'application/vnd.x+json; charset=utf-8' }, body: Buffer.from('[1]') },
      200,
      [1],
    ],
    [
      'a form',
      {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: Buffer.from('a=1&b=x+y&b=z&__proto__=p'),
      },
      200,
      JSON.parse('{"a":"1","b":["x y","z"],"__proto__":"p"}'),
    ],
    ['text', { headers: { 'content-type': 'text/plain' }, body: Buffer.from('hello') }, 200, 'hello'],
    ['nothing', { headers: {}, body: new Uint8Array() }, 200, undefined],
    ['no type', { headers: {}, body: Buffer.from('{}') }, 415, undefined],
    ['another type', { headers: { 'content-type': 'image/png' }, body: Buffer.from('x') }, 415, undefined],
    ['broken JSON', { headers: { 'content-type': 'application/json' }, body: Buffer.from('{') }, 400, undefined],
    [
      'broken UTF-8',
      { headers: { 'content-type': 'application/json' }, body: Buffer.from([34, 0xff, 34]) },
      400,
      undefined,
    ],
  ])('with %s is read by its type', async (_, request, status, input) => {
    const { core, send, inputs } = await home()
    expect(await send(request)).toMatchObject({ status })
    expect(await inputs()).toEqual(status === 200 ? [input] : [])
    const [delivery] = await core.triggers.deliveries('w')
    expect(delivery).toMatchObject({ status, bytes: request.body?.byteLength })
  })

  test('without a body has its query', async () => {
    const { send, inputs } = await home({ method: 'GET' })
    expect(await send({ method: 'GET', path: '/w?a=1&b=2', text: '' })).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ a: '1', b: '2' }])
  })

  test('is refused by schema, size and rate, and says so', async () => {
    const { core, send, clock, inputs } = await home(
      { maxBodyBytes: 100 },
      {
        schema: z.object({ n: z.number() }),
        config: { rateLimit: { max: 1, window: '1m' }, filter: ({ n }) => n > 0 },
      },
    )
    const answers = [
      await send({ text: '{"n":"x"}' }),
      await send({ text: `{"n":${'1'.repeat(100)}}` }),
      await send({ text: '{"n":0}' }),
      await send({ text: '{"n":1}' }),
      await send({ text: '{"n":2}' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([400, 413, 200, 200, 429])
    expect(answers[0]?.said.error).toContain('n: ')
    expect(answers[4]?.headers).toMatchObject({ 'retry-after': '60' })
    await clock.advance('1m')
    expect(await send({ text: '{"n":3}' })).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ n: 1 }, { n: 3 }])
    const verdicts = (await core.triggers.deliveries('w')).map(({ verdict, status }) => `${verdict} ${status}`)
    expect(verdicts.sort()).toEqual([
      'accepted 200',
      'accepted 200',
      'refused 200',
      'refused 400',
      'refused 429',
      'rejected 413',
    ])
  })

  test('of Slack that asks for proof gets it, if it is signed', async () => {
    const { send, inputs, clock } = await home({ auth: { type: 'signature', provider: 'slack', secret: SECRET } })
    const text = JSON.stringify({ type: 'url_verification', challenge: 'c-7' })
    const timestamp = String(Math.floor(clock.now() / 1000))
    const mac = createHmac('sha256', SECRET).update(`v0:${timestamp}:${text}`).digest('hex')
    const headers = { 'content-type': 'application/json', 'x-slack-request-timestamp': timestamp }
    expect(await send({ text, headers: { ...headers, 'x-slack-signature': `v0=${mac}` } })).toMatchObject({
      status: 200,
      said: { challenge: 'c-7' },
    })
    expect(await send({ text, headers: { ...headers, 'x-slack-signature': 'v0=00' } })).toMatchObject({ status: 401 })
    expect(await inputs()).toEqual([])
  })

  test.each([
    ['no object', 5],
    ['no method', { path: '/w', headers: {}, body: new Uint8Array() }],
    ['no bytes', { method: 'POST', path: '/w', headers: {}, body: '{}' }],
    ['no headers', { method: 'POST', path: '/w', body: new Uint8Array() }],
    ['an address that is none', { method: 'POST', path: '/w', headers: {}, body: new Uint8Array(), ip: 5 }],
  ])("that is %s is the program's mistake", async (_, request) => {
    const { core } = await home()
    await refuses(() => core.triggers.handleWebhook(request as never), 'NQ_VALIDATION')
  })
})

describe('a recorded request', () => {
  test('is handled again after the secret was mended', async () => {
    const { core, send, inputs } = await home({ auth: { ...github, secret: 'wrong' } })
    expect(await send(signed('{"n":1}'))).toMatchObject({ status: 401 })
    const [delivery] = await core.triggers.deliveries('w')
    const again = (options?: { again: boolean }) => core.triggers.redeliver(delivery?.deliveryId as string, options)
    expect(await again()).toMatchObject({ status: 401 })
    await core.triggers.update('w', { endpoint: { path: '/w', auth: github } })
    expect(await again()).toMatchObject({ status: 200 })
    expect(JSON.parse((await again()).body)).toMatchObject({ status: 'repeated' })
    // The provider tries again, too.
    expect(await send(signed('{"n":1}'))).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ n: 1 }])
    expect(await again({ again: true })).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ n: 1 }, { n: 1 }])
  })

  test('is checked as of its arrival', async () => {
    const auth: WebhookAuth = { type: 'signature', provider: 'slack', secret: SECRET }
    const { core, send, clock, inputs } = await home({ auth }, { schema: z.object({ m: z.number() }) })
    const timestamp = String(Math.floor(clock.now() / 1000))
    const text = '{"n":1}'
    const mac = createHmac('sha256', SECRET).update(`v0:${timestamp}:${text}`).digest('hex')
    const headers = {
      'content-type': 'application/json',
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': `v0=${mac}`,
    }
    expect(await send({ text, headers })).toMatchObject({ status: 400 })
    await clock.advance('2h')
    expect(await send({ text, headers })).toMatchObject({ status: 401 })
    await core.triggers.update('w', { schema: z.object({ n: z.number() }) })
    const [delivery] = await core.triggers.deliveries('w', { verdict: 'refused' })
    expect(await core.triggers.redeliver(delivery?.deliveryId as string)).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual([{ n: 1 }])
  })

  test('can not be handled again without its body or its credentials', async () => {
    const { core, send } = await home({ auth: { type: 'bearer', secret: SECRET } }, { schema: z.number() })
    await send({ text: '1' })
    await send({ text: '"x"', headers: { 'content-type': 'application/json', authorization: `Bearer ${SECRET}` } })
    const [refused, rejected] = await core.triggers.deliveries('w')
    await refuses(() => core.triggers.redeliver(rejected?.deliveryId as string), 'NQ_VALIDATION', 'credentials')
    expect(await core.triggers.redeliver(refused?.deliveryId as string)).toMatchObject({ status: 400 })
    await core.triggers.update('w', { schema: z.string() })
    expect(await core.triggers.redeliver(refused?.deliveryId as string)).toMatchObject({ status: 200 })
    await refuses(() => core.triggers.redeliver('unknown'), 'NQ_NOT_FOUND')
    await core.triggers.update('w', { config: { persistData: false } })
    await send({ text: '1', headers: { 'content-type': 'application/json', authorization: `Bearer ${SECRET}` } })
    const [unkept] = await core.triggers.deliveries('w', { verdict: 'refused' })
    expect(unkept).not.toHaveProperty('body')
    await refuses(() => core.triggers.redeliver(unkept?.deliveryId as string), 'NQ_VALIDATION', 'body')
  })

  test('that anybody can send is kept within bounds', async () => {
    const { core, send } = await home({ auth: github })
    for (let n = 0; n < 700; n++) await send({ text: `{"n":${n}}` })
    const kept = await core.triggers.deliveries('w')
    expect(kept.length).toBeGreaterThan(400)
    expect(kept.length).toBeLessThan(560)
    expect(kept.every(({ verdict }) => verdict === 'rejected')).toBe(true)
  })

  test('too large for an event is handled without being kept', async () => {
    const { core, send, inputs } = await home()
    const text = JSON.stringify('"'.repeat(400_000))
    expect(await send({ text })).toMatchObject({ status: 200 })
    expect(await inputs()).toEqual(['"'.repeat(400_000)])
    const [delivery] = await core.triggers.deliveries('w')
    expect(delivery).not.toHaveProperty('body')
    expect(await send({ text: JSON.stringify('x'.repeat(1_048_500)) })).toMatchObject({ status: 413 })
  })
})

test('a webhook is answered by all instances that know its secret', async () => {
  const server = await startRedis()
  const warnings = new Warnings()
  const eventStore = { adapter: 'redis', redis: { url: server.url } } as const
  const one = await open({
    eventStore,
    triggers: { resolveSecret: async (name) => (name === 'GH' ? [SECRET, 'old'] : undefined) },
  })
  const two = await open({ eventStore })
  const request = (text: string): WebhookRequest => ({
    ...{ method: 'POST', path: '/w' },
    ...signed(text),
    body: Buffer.from(text),
  })
  await one.triggers.register({
    name: 'w',
    type: 'webhook',
    endpoint: { path: '/w', auth: { type: 'signature', provider: 'github', secretRef: 'GH' } },
  })
  expect(await one.triggers.handleWebhook(request('1'))).toMatchObject({ status: 200 })
  // Heard of at once, as it is asked for.
  expect(await two.triggers.handleWebhook(request('2'))).toMatchObject({ status: 503, headers: { 'retry-after': '5' } })
  await two.close()
  const three = await open({ eventStore, triggers: { resolveSecret: () => SECRET } })
  await until(() => three.triggers.get('w') !== undefined, 'the trigger')
  expect(await three.triggers.handleWebhook(request('2'))).toMatchObject({ status: 200 })
  expect(JSON.parse((await three.triggers.handleWebhook(request('1'))).body)).toMatchObject({ status: 'repeated' })
  expect(await three.triggers.stats('w')).toEqual({ total: 2, byStatus: { processed: 2 } })
  await Promise.all([one.close(), three.close()])
  warnings.stop()
  await server.stop()
}, 30_000)
