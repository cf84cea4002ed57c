/**
 * Redis servers that can't be used: every attempt to open a store ends with an error that names host and port and
 * never the password (P8), in good time.
 */

import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type ErrorCode, EventStore, type NuxtQueueError, type RedisOptions } from '../index.js'
import { freePort } from '../scripts/lib/redis-server.mjs'
import { allTextOf, failure } from './support/failure.js'
import { command, type RedisServer, startRedis } from './support/redis.js'

/** Looks like nothing else in a message, also when it is encoded for a URL. */
const PASSWORD = 'hunter2-geheim'

const open = (redis: RedisOptions, appendTimeoutMs = 10_000) =>
  EventStore.open({ adapter: 'redis', redis, limits: { appendTimeoutMs } })

/** How opening fails: with this code, and without a word of the password. */
async function refusal(redis: RedisOptions, code: ErrorCode): Promise<NuxtQueueError> {
  const error = await failure(() => open(redis))
  expect(error).toMatchObject({ code })
  expect(allTextOf(error)).not.toContain(PASSWORD)
  return error
}

describe('a URL that can’t be one', () => {
  const login = `user:${PASSWORD}@`
  test.each([
    '',
    'localhost',
    `${login}localhost`,
    `http://${login}localhost`,
    `redis:/${login}localhost`,
    `redis://${login}local host:6379`,
    `redis://${login}localhost:port`,
    `redis://${login}localhost:99999`,
    `redis://${login}localhost/first`,
    `redis://${login}localhost/-1`,
    `redis://${login}`,
    `redis-sentinel://${login}localhost`,
    `rediss://${login}localhost/#insecure`,
    `\ud83d://${login}localhost`,
  ])('%j', async (url) => {
    await refusal({ url }, 'NQ_CONFIG')
  })

  const url = `redis://${login}localhost:6379`
  // biome-ignore lint/suspicious/noExplicitAny: a URL where the types want something else
  const misplaced: Array<[string, any]> = [
    ['the options', url],
    ['adapter', { adapter: url }],
    ['redis', { adapter: 'redis', redis: url }],
    ['host', { adapter: 'redis', redis: { host: url } }],
    ['port', { adapter: 'redis', redis: { port: url } }],
    ['db', { adapter: 'redis', redis: { db: url } }],
    ['tls', { adapter: 'redis', redis: { tls: url } }],
    ['servername', { adapter: 'redis', redis: { tls: { servername: 5, ca: url } } }],
    ['cluster', { adapter: 'redis', redis: { cluster: [url] } }],
    ['sentinel', { adapter: 'redis', redis: { sentinel: { hosts: [url], name: 'm' } } }],
    ['limits', { limits: url }],
    ['postgres', { adapter: 'postgres', postgres: { connectionString: url } }],
  ]
  test.each(misplaced)('a URL as %s shows nothing of itself', async (_where, options) => {
    const error = await failure(() => EventStore.open(options))
    expect(error.code).toBe('NQ_CONFIG')
    expect(allTextOf(error)).not.toContain(PASSWORD)
  })
})

describe('options that can’t work', () => {
  test.each<[string, object]>([
    ['port 0', { port: 0 }],
    ['port 65536', { port: 65_536 }],
    ['a port as text', { port: '6379' }],
    ['half a port', { port: 63.79 }],
    ['db -1', { db: -1 }],
    ['db 0.5', { db: 0.5 }],
    ['an empty host', { host: '' }],
    ['a host with a space', { host: 'local host' }],
    ['half a surrogate pair in the password', { password: '\ud83d' }],
    ['a numeric password', { password: 5 }],
    ['a certificate that is none', { tls: { ca: 'certificate' } }],
    ['a cluster', { cluster: ['localhost'] }],
    ['a sentinel', { sentinel: { hosts: ['localhost'], name: 'm' } }],
  ])('%s', async (_what, redis) => {
    await refusal(redis, 'NQ_CONFIG')
  })

  test.each(['postgres'] as const)('adapter %s is not there yet', async (adapter) => {
    const error = await failure(() => EventStore.open({ adapter }))
    expect(error).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining(adapter) })
  })
})

describe('nobody there', () => {
  test('a port where nothing listens: the message names host and port, the cause is the system’s', async () => {
    const port = await freePort()
    const error = await refusal({ host: '127.0.0.1', port, username: 'u', password: PASSWORD }, 'NQ_UNAVAILABLE')
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(String(error.cause)).toMatch(/refused/i)
  })

  test('the same by URL', async () => {
    const port = await freePort()
    const error = await refusal({ url: `redis://u:${PASSWORD}@127.0.0.1:${port}/3` }, 'NQ_UNAVAILABLE')
    expect(error.message).toContain(`127.0.0.1:${port}`)
  })

  test('fields beside the URL replace its parts', async () => {
    const port = await freePort()
    const url = `redis://u:${PASSWORD}@localhost:1`
    const error = await refusal({ url, host: '127.0.0.1', port }, 'NQ_UNAVAILABLE')
    expect(error.message).toContain(`127.0.0.1:${port}`)
  })

  test('a host that does not exist', async () => {
    const error = await refusal({ host: 'nowhere.invalid', port: 6399, password: PASSWORD }, 'NQ_UNAVAILABLE')
    expect(error.message).toContain('nowhere.invalid:6399')
  })

  test('a socket that does not exist', async () => {
    const error = await refusal({ url: 'unix:///nowhere/redis.sock' }, 'NQ_UNAVAILABLE')
    expect(error.message).toContain('/nowhere/redis.sock')
  })
})

describe('somebody else there', () => {
  const servers: Server[] = []
  const sockets = new Set<Socket>()
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
  })

  async function listen(server: Server): Promise<number> {
    server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    servers.push(server)
    return (server.address() as AddressInfo).port
  }

  /** Opens a store at a server and expects to be told which one it is that does not work. */
  async function refusedBy(server: Server, code: ErrorCode = 'NQ_UNAVAILABLE'): Promise<NuxtQueueError> {
    const port = await listen(server)
    const error = await refusal({ host: '127.0.0.1', port, password: PASSWORD }, code)
    expect(error.message).toContain(`127.0.0.1:${port}`)
    return error
  }

  test('an HTTP server', async () => {
    await refusedBy(createHttpServer((_request, response) => response.end('hello')))
  })

  test('a server that greets first, as those for mail do', async () => {
    await refusedBy(createServer((socket) => socket.write('220 mail.example ESMTP\r\n')))
  })

  test('a server that hangs up', async () => {
    await refusedBy(createServer((socket) => socket.destroy()))
  })

  test('a server that never says anything', async () => {
    await refusedBy(createServer())
  })

  test('a server that says back what it hears', async () => {
    await refusedBy(createServer((socket) => socket.pipe(socket)))
  })

  test('a server that complains of what it heard', async () => {
    const complain = (socket: Socket) =>
      socket.on('data', (heard) => socket.write(`-ERR don't know ${JSON.stringify(String(heard))}\r\n`))
    await refusedBy(createServer(complain), 'NQ_CONFIG')
  })
})

describe('a server that asks for a password', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis({ password: PASSWORD })
    await command(server, 'ACL', 'SETUSER', 'writer', 'on', `>${PASSWORD}-w`, '~*', '&*', '+@all')
  })
  afterAll(() => server.stop())

  const at = (redis: RedisOptions) => ({ host: '127.0.0.1', port: server.port, ...redis })

  test('without one: it is said that the server asks for one', async () => {
    const error = await refusal(at({}), 'NQ_CONFIG')
    expect(error.message).toContain(`127.0.0.1:${server.port}`)
    expect(allTextOf(error)).toMatch(/password|NOAUTH/)
  })

  test.each<[string, RedisOptions]>([
    ['a wrong password', { password: `not-${PASSWORD}` }],
    ['an unknown user', { username: 'nobody', password: PASSWORD }],
    ['an empty password', { password: '' }],
  ])('%s: refused, and the wrong one is not shown either', async (_what, redis) => {
    const error = await refusal(at(redis), 'NQ_CONFIG')
    expect(error.message).toContain(`127.0.0.1:${server.port}`)
  })

  test.each<[string, () => RedisOptions]>([
    ['the password', () => at({ password: PASSWORD })],
    ['a URL', () => ({ url: server.url })],
    ['a user', () => at({ username: 'writer', password: `${PASSWORD}-w` })],
    ['a user in a URL', () => ({ url: `redis://writer:${PASSWORD}-w@127.0.0.1:${server.port}` })],
    ['a password beside a URL', () => ({ url: `redis://127.0.0.1:${server.port}`, password: PASSWORD })],
  ])('with %s it opens', async (_what, redis) => {
    const store = await open(redis())
    await store.append('s', { type: 'log.info', data: { level: 'info', message: 'in' } })
    await store.close()
  })

  test('a database that does not exist', async () => {
    const error = await refusal(at({ password: PASSWORD, db: 99 }), 'NQ_CONFIG')
    expect(error.message).toContain(`127.0.0.1:${server.port}`)
  })
})

describe('a server with the commands of the log-in taken away', () => {
  test('what it says of an unknown AUTH does not give the password away', async () => {
    const args = ['HELLO', 'AUTH'].flatMap((name) => ['--rename-command', name, ''])
    const server = await startRedis({ args })
    try {
      const redis = { host: '127.0.0.1', port: server.port, password: PASSWORD }
      const error = await refusal(redis, 'NQ_CONFIG')
      expect(error.message).toContain(`127.0.0.1:${server.port}`)
    } finally {
      await server.stop()
    }
  })

  test('without HELLO alone it opens', async () => {
    const server = await startRedis({ password: PASSWORD, args: ['--rename-command', 'HELLO', ''] })
    try {
      const store = await open({ url: server.url })
      const stored = await store.append('s', { type: 'log.info', data: { level: 'info', message: 'in' } })
      expect(await store.query({ stream: 's' })).toEqual([stored])
      await store.close()
    } finally {
      await server.stop()
    }
  })
})

test('a store that could not be opened leaves no connection and no attempt behind', async () => {
  const attempts: Socket[] = []
  const server = createServer((socket) => {
    attempts.push(socket.on('error', () => {}))
    socket.end('-ERR go away\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await failure(() => open({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }))
  const before = attempts.length
  // Attempts follow each other within a second at most.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const after = attempts.length
  for (const socket of attempts) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
  expect(after - before).toBeLessThanOrEqual(1)
})
