/** P8: what webhooks are checked by stands in no event, key, log, warning, answer or error, nor does what senders tried. */

import { createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { onDiagnostic, open, type QueueConfig, type WebhookAuth, type WebhookRequest } from '../index.js'
import { allTextOf } from './support/failure.js'
import { command, type RedisServer, startRedis } from './support/redis.js'
import { Warnings } from './support/warnings.js'

const SECRETS = {
  direct: 'direct-secret-5b1d',
  rotated: 'rotated-secret-77aa',
  named: 'named-secret-9c3e',
  environment: 'environment-secret-0f2b',
  standard: `whsec_${Buffer.from('standard-secret-4d4d-4d4d').toString('base64')}`,
  basic: 'someone:basic-secret-31f8',
  signing: 'signing-secret-e2e2',
  // What senders tried.
  wrongBearer: 'wrong-bearer-a1a1',
  wrongKey: 'wrong-key-b2b2',
  wrongBasic: 'someone:wrong-basic-c3c3',
}

const AUTHS: Record<string, WebhookAuth> = {
  stripe: { type: 'signature', provider: 'stripe', secret: [SECRETS.rotated, SECRETS.direct] },
  github: { type: 'signature', provider: 'github', secretRef: 'NAMED' },
  slack: { type: 'signature', provider: 'slack', secretRef: 'NQ_TEST_SECRET' },
  standard: { type: 'signature', provider: 'standard-webhooks', secret: SECRETS.standard },
  shopify: { type: 'signature', provider: 'shopify', secret: SECRETS.direct },
  own: {
    type: 'signature',
    header: 'x-signature',
    payload: '{timestamp}.{body}',
    timestampHeader: 'x-at',
    secret: SECRETS.direct,
  },
  bearer: { type: 'bearer', secret: SECRETS.direct },
  apikey: { type: 'apikey', secret: SECRETS.direct },
  query: { type: 'apikey', query: 'key', secret: SECRETS.direct },
  basic: { type: 'basic', secret: SECRETS.basic },
}

let server: RedisServer
const said: string[] = []
const warnings = new Warnings()

beforeAll(async () => {
  server = await startRedis()
  process.env.NQ_TEST_SECRET = SECRETS.environment
})
afterAll(async () => {
  delete process.env.NQ_TEST_SECRET
  warnings.stop()
  await server.stop()
})

/** A secret in each form in which it might show up. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [secret, bytes.toString('base64').replace(/=+$/, ''), bytes.toString('hex'), encodeURIComponent(secret)]
}

function requestsTo(name: string): Array<Partial<WebhookRequest>> {
  const body = '{"n":1}'
  const sha256 = createHmac('sha256', SECRETS.named).update(body).digest('hex')
  const basic = (secret: string) => `Basic ${Buffer.from(secret).toString('base64')}`
  const genuine: Record<string, Partial<WebhookRequest>> = {
    github: { headers: { 'x-hub-signature-256': `sha256=${sha256}` } },
    shopify: {
      headers: { 'x-shopify-hmac-sha256': createHmac('sha256', SECRETS.direct).update(body).digest('base64') },
    },
    bearer: { headers: { authorization: `Bearer ${SECRETS.direct}` } },
    apikey: { headers: { 'x-api-key': SECRETS.direct } },
    query: { path: `/${name}?key=${SECRETS.direct}` },
    basic: { headers: { authorization: basic(SECRETS.basic) } },
  }
  return [
    genuine[name] ?? {},
    { headers: { authorization: `Bearer ${SECRETS.wrongBearer}`, cookie: SECRETS.wrongKey } },
    { headers: { authorization: basic(SECRETS.wrongBasic), 'x-api-key': SECRETS.wrongKey } },
    ...(name === 'query' ? [{ path: `/${name}?key=${SECRETS.wrongKey}` }] : []),
  ].map((request) => ({
    ...{ method: 'POST', path: `/${name}`, body: Buffer.from(body) },
    ...request,
    headers: { 'content-type': 'application/json', ...request.headers },
  }))
}

async function use(config: QueueConfig): Promise<void> {
  const stop = onDiagnostic((entry) => said.push(inspect(entry, { depth: 9 })), { level: 'debug' })
  const core = await open({
    ...config,
    triggers: {
      secret: SECRETS.signing,
      resolveSecret: (name) => (name === 'NAMED' ? SECRETS.named : process.env[name]),
    },
  })
  const note = (value: unknown) => said.push(allTextOf(value), JSON.stringify(value) ?? '')
  const attempt = async (call: () => Promise<unknown>) => note(await call().catch((error) => error))
  core.flows.define({
    ...{ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} },
    triggers: { subscribe: ['stripe', 'bearer'] },
  })
  for (const [name, auth] of Object.entries(AUTHS)) {
    const endpoint = { path: `/${name}`, auth }
    await core.triggers.register({ name, type: 'webhook', endpoint })
    // Refused, with what is wrong.
    await attempt(() => core.triggers.register({ name: 'x', type: 'webhook', endpoint }))
    const broken = { ...auth, allow: ['no address'], toleranceSeconds: -1 }
    await attempt(() => core.triggers.update(name, { endpoint: { path: 'broken', auth: broken } }))
    for (const request of requestsTo(name)) await attempt(() => core.triggers.handleWebhook(request as WebhookRequest))
    const deliveries = await core.triggers.deliveries(name)
    expect(deliveries.length).toBeGreaterThan(1)
    note(deliveries)
    for (const { deliveryId } of deliveries) await attempt(() => core.triggers.redeliver(deliveryId))
    note(core.triggers.get(name))
  }
  const misfit = { type: 'basic', secret: 'basic-secret-31f8' } as const
  await attempt(() => core.triggers.register({ name: 'y', type: 'webhook', endpoint: { path: '/y', auth: misfit } }))
  const noText = { type: 'bearer', secret: [{ value: SECRETS.direct }] } as never
  await attempt(() => core.triggers.register({ name: 'y', type: 'webhook', endpoint: { path: '/y', auth: noText } }))
  note([core.triggers.list(), await core.triggers.stats(), core, core.triggers])
  note(await core.store.queryGlobal({ pattern: '*' }))
  await core.close()
  stop()
}

test.each(['memory', 'redis'] as const)(
  'nothing tells a secret (%s)',
  async (adapter) => {
    await use({ eventStore: adapter === 'memory' ? { adapter } : { adapter, redis: { url: server.url } } })
    const keys = (await command(server, 'KEYS', '*')) as string[]
    for (const key of keys) said.push(key, JSON.stringify(await dump(key)))
    if (adapter === 'redis') expect(keys).toContain('nq:trigger:bearer')
    said.push(...warnings.caught.map(allTextOf))
    const text = said.join('\n')
    expect(text).toContain('wrong-credentials')
    for (const [name, secret] of Object.entries(SECRETS))
      for (const form of formsOf(secret)) expect(text.includes(form), `${name}: ${form}`).toBe(false)
  },
  30_000,
)

async function dump(key: string): Promise<unknown> {
  switch (await command(server, 'TYPE', key)) {
    case 'stream':
      return await command(server, 'XRANGE', key, '-', '+')
    case 'zset':
      return await command(server, 'ZRANGE', key, '0', '-1')
    case 'list':
      return await command(server, 'LRANGE', key, '0', '-1')
    case 'set':
      return await command(server, 'SMEMBERS', key)
    case 'string':
      return await command(server, 'GET', key)
    default:
      return await command(server, 'HGETALL', key)
  }
}
