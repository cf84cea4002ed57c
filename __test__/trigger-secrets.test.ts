/** P8: the secrets of webhooks, and credentials that senders send, appear in no event, log or error, nor anywhere else. */

import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Diagnostic,
  onDiagnostic,
  open,
  type QueueConfig,
  type QueueCore,
  toNodeHandler,
  type WebhookAuth,
  type WebhookRequest,
} from '../index.js'
import { allTextOf, failure } from './support/failure.js'
import { listen, portOf, send } from './support/http.js'
import { type RedisServer, startRedis } from './support/redis.js'
import { Warnings } from './support/warnings.js'
import { confused, misplaced, SENDERS, type Sender } from './support/webhook-senders.js'

const SIGNING = 'await-geheim-0f6b1d'

/** Every secret that any test uses, in the forms of its kind. */
const secrets = new Set<string>([SIGNING])

/** A secret like no other. */
function newSecret({ secretOf }: Pick<Sender, 'secretOf'>, what: string): string {
  const secret = secretOf(`geheim/${what}+${secrets.size}~x7`)
  secrets.add(secret)
  return secret
}

/** All forms in which a secret could be written. */
function formsOf(secret: string): string[] {
  const texts = [secret, secret.replace(/^(whsec_|user:)/, '')]
  if (secret.startsWith('whsec_')) texts.push(Buffer.from(secret.slice(6), 'base64').toString())
  return texts.flatMap((text) => {
    const bytes = Buffer.from(text)
    return [
      text,
      encodeURIComponent(text),
      bytes.toString('hex'),
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('base64url'),
      bytes.join(','),
      bytes.join(', '),
    ]
  })
}

function expectNoSecret(text: string): void {
  for (const secret of secrets)
    for (const form of formsOf(secret)) if (text.includes(form)) expect.fail(`${secret} in ${around(text, form)}`)
}

function around(text: string, form: string): string {
  const at = text.indexOf(form)
  return `…${text.slice(Math.max(0, at - 300), at + form.length + 50)}…`
}

describe.each(['memory', 'redis'])('on %s', (backend) => {
  let server: RedisServer | undefined
  let monitor: Redis | undefined
  let core: QueueCore
  /** What was answered, thrown and shown. */
  const said: string[] = []
  const sent: string[] = []
  const diagnostics: Diagnostic[] = []
  const stop = onDiagnostic((diagnostic) => diagnostics.push(diagnostic), { level: 'trace' })
  let warnings: Warnings
  /** What `resolveSecret` gives. */
  const vault = new Map<string, unknown>()

  beforeAll(async () => {
    warnings = new Warnings()
    if (backend === 'redis') {
      server = await startRedis()
      monitor = await new Redis(server.url).monitor()
      monitor.on('monitor', (_time, words: string[]) => sent.push(words.join(' ')))
    }
    core = await open(config())
    const flow = { name: 'f', entry: { step: 's', queue: 'q' }, steps: {} }
    core.flows.define(flow)
    await core.worker('q', { s: async (input) => input })
  })
  afterAll(async () => {
    warnings.stop()
    stop()
    await core.close()
    monitor?.disconnect()
    await server?.stop()
  })

  const config = (): QueueConfig => ({
    eventStore: server ? { adapter: 'redis', redis: { url: server.url } } : { adapter: 'memory' },
    triggers: { secret: SIGNING, resolveSecret: (name) => (vault.get(name) ?? process.env[name]) as string },
  })

  function keep<T>(value: T): T {
    said.push(allTextOf(value))
    return value
  }

  async function handle(
    name: string,
    request: Pick<WebhookRequest, 'headers' | 'query'>,
    method = 'POST',
    body = BODY,
  ) {
    const headers = { 'content-type': 'application/json', 'user-agent': 'sender/1', ...request.headers }
    const path = `/hooks/${name}${request.query ? `?${new URLSearchParams(request.query)}` : ''}`
    return keep(await core.triggers.handleWebhook({ method, path, headers, body: Buffer.from(body) }))
  }

  const BODY = '{"n":1}'
  const now = () => Math.floor(Date.now() / 1000)

  async function register(name: string, auth: WebhookAuth, method = 'POST'): Promise<void> {
    await core.triggers.register({ name, type: 'webhook', endpoint: { path: `/hooks/${name}`, method, auth } })
    await core.triggers.subscribe(name, 'f')
  }

  test.each(SENDERS)('a webhook by $name', async (sender) => {
    const { name, auth, sign } = sender
    const [old, present, foreign] = ['old', 'present', 'foreign'].map((what) =>
      newSecret(sender, `${name}-${backend}-${what}`),
    ) as [string, string, string]
    await register(name, { ...auth, secret: [present, old] })
    expect(await handle(name, sign(present, BODY, now()))).toMatchObject({ status: 200 })
    expect(await handle(name, sign(old, BODY, now() - 1))).toMatchObject({ status: 200 })
    expect(await handle(name, sign(foreign, BODY, now()))).toMatchObject({ status: 401 })
    const astray = [...misplaced(sender, present), ...confused(present)]
    for (const request of [...astray, ...misplaced(sender, foreign)]) await handle(name, request)
    // Genuine, and with what does not belong there beside it.
    for (const { headers, query } of astray) {
      const right = sign(present, BODY, now())
      await handle(name, { headers: { ...headers, ...right.headers }, query: { ...query, ...right.query } })
    }
    await core.triggers.update(name, { endpoint: { path: `/hooks/${name}`, auth: { ...auth, secret: present } } })
    expect(await handle(name, sign(old, BODY, now() - 2))).toMatchObject({ status: 401 })
    for (const value of [
      core.triggers.get(name),
      core.triggers.list(),
      await core.triggers.deliveries(name),
      await core.triggers.runs(name),
      core,
    ])
      keep(value)
    for (const { deliveryId } of (await core.triggers.deliveries(name)).slice(-3))
      keep(await core.triggers.redeliver(deliveryId).catch((error) => error))
  })

  test('an API key in the query of a GET', async () => {
    const [sender] = SENDERS.filter(({ name }) => name === 'apikey-query') as [Sender]
    const secret = newSecret(sender, `get-${backend}`)
    await register('get', { ...sender.auth, secret }, 'GET')
    const answer = await handle('get', sender.sign(secret, '', now()), 'GET', '')
    expect(answer).toMatchObject({ status: 200 })
    const [{ data } = {}] = await core.triggers.runs('get')
    expect(data).toEqual({ page: '2' })
    const [delivery] = await core.triggers.deliveries('get')
    expect(await core.triggers.redeliver(delivery?.deliveryId as string, { again: true })).toMatchObject({
      status: 200,
    })
    const [{ data: again } = {}] = await core.triggers.runs('get')
    expect(again).toEqual(data)
    keep(await core.triggers.runs('get'))
  })

  test('a secret by its name', async () => {
    const [sender] = SENDERS as [Sender]
    const { auth, sign } = sender
    const [first, second, third] = ['env', 'vault', 'next'].map((what) => newSecret(sender, `${what}-${backend}`)) as [
      string,
      string,
      string,
    ]
    process.env.STRIPE_HOOK_SECRET = first
    vault.set('stripe-hook', [second, third])
    await register('by-env', { ...auth, secretRef: 'STRIPE_HOOK_SECRET' })
    await register('by-vault', { ...auth, secretRef: 'stripe-hook' })
    expect(await handle('by-env', sign(first, BODY, now()))).toMatchObject({ status: 200 })
    expect(await handle('by-vault', sign(third, BODY, now()))).toMatchObject({ status: 200 })
    expect(await handle('by-vault', sign(first, BODY, now()))).toMatchObject({ status: 401 })
    for (const broken of [Buffer.from(second), { value: second }, [second, 5], 5, [Buffer.from(second)]]) {
      vault.set('stripe-hook', broken)
      expect(await handle('by-vault', sign(second, BODY, now()))).toMatchObject({ status: 503 })
      keep(await failure(() => register('by-vault', { ...auth, secretRef: 'stripe-hook' })))
    }
    vault.delete('stripe-hook')
    delete process.env.STRIPE_HOOK_SECRET
    expect(await handle('by-env', sign(first, BODY, now()))).toMatchObject({ status: 503 })
    keep(core.triggers.list())
  })

  test('a secret that can not work, or stands in a wrong place', async () => {
    const secret = newSecret({ secretOf: (text) => `${text} *` }, `broken-${backend}`)
    const broken: unknown[] = [
      { type: 'signature', provider: 'svix', secret },
      { type: 'signature', provider: 'stripe', secret },
      { type: 'basic', secret },
      { type: 'bearer', secret: `${secret}\n` },
      { type: 'apikey', secret: [`${secret}\u00e9`, ''] },
      { type: 'bearer', secret: [secret, 5] },
      { type: 'bearer', secret: Buffer.from(secret) },
      { type: 'bearer', secret: { value: secret } },
      { type: 'bearer', secret, secretRef: 'BOTH' },
      { type: 'bearer', token: secret },
      { type: 'ip', secret },
      { type: 'custom', secret, verify: secret },
      { type: 'bearer', secret, allow: [5] },
      `Bearer ${secret}`,
      [secret],
      null,
    ]
    for (const auth of broken) {
      const endpoint = { path: '/hooks/broken', auth: auth as WebhookAuth }
      keep(await failure(() => core.triggers.register({ name: 'broken', type: 'webhook', endpoint })))
      keep(await failure(() => core.triggers.update('bearer', { endpoint })))
    }
    for (const config of [
      secret,
      { path: '/x', secret },
      { path: '/x', auth: { type: 'bearer', secret }, headers: secret },
    ])
      keep(await failure(() => core.triggers.register({ name: 'broken', type: 'webhook', endpoint: config as never })))
    for (const triggers of [{ secret: Buffer.from(secret) }, { secret: [secret] }, { resolveSecret: secret }])
      keep(await failure(() => open({ ...config(), triggers: triggers as never })))
  })

  test('code that fails with a secret in its mouth', async () => {
    const secret = newSecret({ secretOf: (text) => text }, `thrown-${backend}`)
    const verify = () => {
      throw new Error(`not ${secret}`)
    }
    await register('custom', { type: 'custom', verify })
    expect(await handle('custom', { headers: { authorization: `Bearer ${secret}` } })).toMatchObject({ status: 401 })
    await register('vaulted', { type: 'bearer', secret })
    keep(core.triggers.get('custom'))
  })

  test('the URLs of awaits', async () => {
    const urls: string[] = []
    core.flows.define({ name: 'asks', entry: { step: 'ask', queue: 'asks' }, steps: {} })
    await core.worker('asks', {
      ask: async (_input, ctx) => {
        urls.push(ctx.await.getWebhookUrl())
        return await ctx.await.webhook()
      },
    })
    const { runId } = await core.flows.start('asks')
    await expect.poll(() => urls.length).toBe(1)
    keep(urls)
    const body = Buffer.from('{}')
    const headers = { 'content-type': 'application/json' }
    for (const path of [`${urls[0]}x`, urls[0] as string])
      keep(await core.triggers.handleWebhook({ method: 'POST', path, headers, body }))
    await expect.poll(async () => (await core.flows.status(runId))?.status).toBe('completed')
    keep(await core.flows.status(runId))
  })

  test('requests over HTTP', async () => {
    const port = portOf(await listen(toNodeHandler(core.triggers)))
    const secret = newSecret({ secretOf: (text) => text }, `http-${backend}`)
    for (const name of ['bearer', 'apikey', 'basic', 'nowhere'])
      keep(
        await send(port, {
          path: `/hooks/${name}`,
          headers: { authorization: `Bearer ${secret}`, 'x-api-key': secret },
          body: BODY,
        }),
      )
  })

  test('none of them is anywhere', async () => {
    const stored = server ? await contentsOf(server) : JSON.stringify(await core.store.queryGlobal({ pattern: '*' }))
    for (const type of ['trigger.registered', 'trigger.updated', 'trigger.delivered', 'rejected', 'flow.started'])
      expect(stored).toContain(type)
    expect(said.join('\n')).toContain('unauthorized')
    expect(warnings.caught.length).toBeGreaterThan(0)
    for (const text of [stored, ...said, sent.join('\n'), allTextOf(diagnostics), ...warnings.caught.map(allTextOf)])
      expectNoSecret(text)
  })
})

/** All that a server holds. */
async function contentsOf(server: RedisServer): Promise<string> {
  const client = new Redis(server.url)
  const read: Record<string, (key: string) => Promise<unknown>> = {
    stream: (key) => client.xrange(key, '-', '+'),
    zset: (key) => client.zrange(key, 0, -1),
    string: (key) => client.get(key),
    hash: (key) => client.hgetall(key),
    list: (key) => client.lrange(key, 0, -1),
    set: (key) => client.smembers(key),
  }
  const parts: unknown[] = []
  for (const key of await client.keys('*')) parts.push(key, await read[await client.type(key)]?.(key))
  client.disconnect()
  return inspect(parts, { depth: 10, maxArrayLength: null, maxStringLength: null })
}
