/** P8: a password appears in no event, log or error, nor in anything else that can be looked at. */

import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Diagnostic, EventStore, type NewEvent, onDiagnostic, type StoreOptions } from '../index.js'
import { collect } from './support/backends.js'
import { runCode } from './support/child.js'
import { allTextOf, failure } from './support/failure.js'
import { Inbox } from './support/inbox.js'
import { type RedisServer, startRedis, until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

/** Has characters that a URL must encode, so that both forms can be looked for. */
const PASSWORD = 'geheim/"Wort"@7'
const USER_PASSWORD = 'hunter2-$&%'

const note: NewEvent = { type: 'log.info', data: { level: 'info', message: 'm' } }

let server: RedisServer
let admin: Redis
const opened: EventStore[] = []
/** What was said while all of this ran. */
const diagnostics: Diagnostic[] = []
const stop = onDiagnostic((diagnostic) => diagnostics.push(diagnostic), { level: 'trace' })

beforeAll(async () => {
  server = await startRedis({ password: PASSWORD })
  admin = new Redis(server.url)
  await admin.call('ACL', 'SETUSER', 'limited', 'on', `>${USER_PASSWORD}`, '~*', '&*', '+@all', '-xadd', '-eval')
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
})
afterAll(async () => {
  stop()
  admin.disconnect()
  await server.stop()
})

/** Every way to hand a password over. */
const logins = (): Array<[string, StoreOptions]> => [
  ['redis.password', { redis: { host: '127.0.0.1', port: server.port, password: PASSWORD } }],
  ['redis.url', { redis: { url: server.url } }],
  ['a URL with a user', { redis: { url: server.url.replace('//:', '//default:') } }],
  ['a password beside a URL', { redis: { url: `redis://127.0.0.1:${server.port}`, password: PASSWORD } }],
]

async function open(options: StoreOptions): Promise<EventStore> {
  const store = await EventStore.open({ adapter: 'redis', ...options })
  opened.push(store)
  return store
}

/** Checks that a text holds neither password, in no form in which one could be written. */
function expectNoSecret(text: string): void {
  for (const password of [PASSWORD, USER_PASSWORD]) {
    for (const form of [password, encodeURIComponent(password), JSON.stringify(password).slice(1, -1)]) {
      expect(text).not.toContain(form)
    }
  }
}

/** All that the server holds, and how its clients introduce themselves. */
async function contentsOf(client: Redis): Promise<string> {
  const parts: unknown[] = [await client.client('LIST')]
  for (const key of await client.keys('*')) {
    const type = await client.type(key)
    parts.push(key, await (type === 'stream' ? client.xrange(key, '-', '+') : client.dump(key)))
  }
  return inspect(parts, { depth: 10, maxArrayLength: null, maxStringLength: null })
}

test('not in stores and what they give', async () => {
  for (const [, options] of logins()) {
    const store = await open(options)
    const state = store.state('r')
    const subscription = await store.subscribe('s', () => {})
    await state.set('k', 1)
    const seen = [store, state, subscription, await store.append('s', note), store.stats(), await state.snapshot()]
    const pages = [store.iterate({ stream: 's' }), store.streams('*'), await collect(store.streams('*'))]
    for (const value of [...seen, ...pages]) {
      expectNoSecret(allTextOf(value))
      expectNoSecret(JSON.stringify(value) ?? '')
    }
  }
})

test('not in what the server is given to keep, nor in what it is told', async () => {
  const listener = new Redis(server.url)
  const messages: string[] = []
  listener.on('pmessage', (...parts) => messages.push(parts.join(' ')))
  await listener.psubscribe('*')
  for (const [, options] of logins()) {
    const store = await open(options)
    await store.append('s', note, { idempotencyKey: 'k' })
    await store.appendBatch('s', [note, note])
    await store.state('r').set('k', 1)
    await store.indexAdd('i', 'a', 1)
  }
  await until(() => messages.length >= 10, 'announcements')
  listener.disconnect()
  const contents = await contentsOf(admin)
  expect(contents).toContain('log.info')
  expectNoSecret(contents)
  expectNoSecret(messages.join('\n'))
})

test('not in errors of calls', async () => {
  const user = { username: 'limited', password: USER_PASSWORD }
  const limited = await open({ redis: { host: '127.0.0.1', port: server.port, ...user } })
  await admin.set('text', 'x')
  const calls: Array<() => unknown> = [
    () => limited.append('s', note),
    () => limited.append('s', note, { idempotencyKey: 'k' }),
    () => limited.query({ stream: 'text' }),
    () => limited.query({ stream: '' }),
    () => limited.indexAdd('s', 'a', 1),
    () => limited.state('r').set('k', 1),
  ]
  for (const call of calls) expectNoSecret(allTextOf(await failure(call)))
  await limited.close()
  expectNoSecret(allTextOf(await failure(() => limited.append('s', note))))
})

test('not in errors of logging in', async () => {
  const at = { host: '127.0.0.1', port: server.port }
  const redis = [
    { ...at, password: `${PASSWORD}x` },
    { ...at, password: PASSWORD.slice(1) },
    { ...at, username: 'nobody', password: PASSWORD },
    { ...at, password: PASSWORD, db: 99 },
    { url: server.url, username: 'limited' },
    { url: `redis://x:${encodeURIComponent(PASSWORD)}@127.0.0.1:${server.port}` },
    { host: '127.0.0.1', port: 1, password: PASSWORD },
    { ...at, password: PASSWORD, tls: true },
  ]
  for (const options of redis) expectNoSecret(allTextOf(await failure(() => open({ redis: options }))))
})

test('not when a server says back what it was sent', async () => {
  const echo = createServer((socket) =>
    socket
      .on('error', () => {})
      .on('data', (heard) => {
        const words = String(heard)
          .split('\r\n')
          .filter((line) => !/^[*$]/.test(line))
        socket.write(`-ERR unknown command '${words[0]}', with args beginning with: ${words.slice(1).join(' ')}\r\n`)
      }),
  )
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = echo.address() as { port: number }
    for (const username of [undefined, 'limited']) {
      const error = await failure(() => open({ redis: { host: '127.0.0.1', port, username, password: PASSWORD } }))
      expectNoSecret(allTextOf(error))
    }
  } finally {
    echo.close()
  }
})

test('not when the password changes behind the store', async () => {
  const changing = await startRedis({ password: PASSWORD })
  const client = new Redis(changing.url)
  const warnings = new Warnings()
  try {
    const limits = { appendTimeoutMs: 500 }
    const store = await EventStore.open({ adapter: 'redis', redis: { url: changing.url }, limits })
    const inbox = await Inbox.of(store, 's')
    await store.append('s', note)
    await inbox.count(1)
    await client.config('SET', 'requirepass', 'another')
    await client.client('KILL', 'TYPE', 'pubsub')
    await client.client('KILL', 'TYPE', 'normal')
    const errors = [await failure(() => store.append('s', note)), await failure(() => store.query({ stream: 's' }))]
    for (const error of errors) {
      // What had been sent when the connection ended has an outcome that nobody knows.
      expect(['NQ_CONFIG', 'NQ_TIMEOUT']).toContain(error.code)
      expectNoSecret(allTextOf(error))
    }
    await client.config('SET', 'requirepass', PASSWORD)
    await until(
      () =>
        store.append('s', note).then(
          () => true,
          () => false,
        ),
      'the store to work again',
    )
    await inbox.count(2)
    await store.close()
  } finally {
    warnings.stop()
    client.disconnect()
    await changing.stop()
  }
  for (const warning of warnings.caught) expectNoSecret(allTextOf(warning))
})

test('not in diagnostics of all this', () => {
  const messages = new Set(diagnostics.map(({ message }) => message))
  for (const message of ['connection lost; connecting again', 'not connected; trying again', 'connected again']) {
    expect(messages).toContain(message)
  }
  expectNoSecret(allTextOf(diagnostics))
  for (const diagnostic of diagnostics) expectNoSecret(JSON.stringify(diagnostic))
})

test('not on the output of a process, whatever is switched on', async () => {
  const options = { adapter: 'redis', redis: { url: server.url } }
  const env = { NQ_LOG: 'trace', RUST_LOG: 'trace', RUST_BACKTRACE: '1', DEBUG: '*', NODE_DEBUG: '*' }
  const code = (password: string) => `
    import { inspect } from 'node:util'
    import { EventStore } from './index.js'
    const options = JSON.parse(process.env.STORE_OPTIONS)
    ${password}
    const store = await EventStore.open(options)
    await store.subscribe('s', () => { throw new Error('handler') }, { after: '0-0' })
    await store.append('s', { type: 'log.info', data: { level: 'info', message: 'm' } })
    console.log(store, inspect(store, { showHidden: true, depth: 10 }), globalThis)
    await new Promise((resolve) => setTimeout(resolve, 50))
    throw new Error('end')
  `
  for (const change of ['', "options.redis.username = 'limited'"]) {
    const ended = await runCode(code(change), { env: { ...env, STORE_OPTIONS: JSON.stringify(options) } })
    expect(ended.code).toBe(1)
    expectNoSecret(ended.stdout + ended.stderr)
  }
})
