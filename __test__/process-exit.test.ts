/** How a process ends: by itself when nothing is pending, not before what is pending is done, and always cleanly. */

import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../scripts/lib/redis-server.mjs'
import { newStream } from './support/backends.js'
import { type Ended, runCode } from './support/child.js'
import { makeDirectory, removeDirectory } from './support/directory.js'
import { command, type RedisServer, startRedis } from './support/redis.js'

/** A process that nothing keeps ends in a few milliseconds; the rest is for a busy machine. */
const BY_ITSELF_MS = 4000

const directory = makeDirectory()
let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => {
  removeDirectory(directory)
  return server.stop()
})

/** The beginning of every program: `open` opens a store, `stream` is a stream of its own. */
function prelude(backend: string, stream: string): string {
  const options = {
    memory: { adapter: 'memory' },
    file: { adapter: 'file', file: { dir: join(directory, randomUUID()) } },
    redis: { adapter: 'redis', redis: { url: server.url } },
  }[backend]
  return `
    import { EventStore } from './index.js'
    const open = (more = {}) => EventStore.open({ ...${JSON.stringify(options)}, ...more })
    const stream = '${stream}'
    const note = (n) => ({ type: 'note.added', data: { n } })
  `
}

function expectClean(ended: Ended, code = 0): void {
  expect({ code: ended.code, signal: ended.signal, stderr: ended.stderr }).toEqual({ code, signal: null, stderr: '' })
}

const count = async (stream: string) => Number(await command(server, 'XLEN', stream))

/** A subscription has called its handler. A timer holds the process until then: a subscription does not. */
const delivered = (handler: string) => `
  const s = await open()
  const timer = setInterval(() => {}, 1000)
  await new Promise(async (done) => {
    await s.subscribe(stream, () => ${handler})
    await s.append(stream, note(1))
  })
  clearInterval(timer)
`

describe.each(['memory', 'file', 'redis'])('on %s', (backend) => {
  const run = (code: string, stream = newStream()) => runCode(prelude(backend, stream) + code)

  test.each([
    ['an open store', 'await open()'],
    ['three of them', 'await open(); await open(); await open()'],
    ['a store that was used', 'const s = await open(); await s.append(stream, note(1)); await s.query({ stream })'],
    ['a closed store', 'const s = await open(); await s.append(stream, note(1)); await s.close()'],
    ['a subscription', 'const s = await open(); await s.subscribe(stream, () => {})'],
    ['a subscription to a pattern', `const s = await open(); await s.subscribe('*', () => {}, { after: '0-0' })`],
    ['a subscription that delivered', delivered('done()')],
    ['a subscription whose handler never ends', delivered('{ done(); return new Promise(() => {}) }')],
    [
      'an iterator that was left',
      `const s = await open()
       await s.appendBatch(stream, Array.from({ length: 1000 }, (_, n) => note(n)))
       await s.iterate({ stream })[Symbol.asyncIterator]().next()`,
    ],
    ['the state of a run', `const s = await open(); await s.state(stream).patch('n', (n = 0) => n + 1)`],
  ])('%s does not keep the process', async (_what, code) => {
    const ended = await run(`console.log('begin'); ${code}; console.log('end')`)
    expectClean(ended)
    expect(ended.stdout).toBe('begin\nend\n')
    expect(ended.afterFirstLine).toBeLessThan(BY_ITSELF_MS)
  })

  test('what is pending is finished first', async () => {
    const ended = await run(`
      const s = await open()
      for (let n = 0; n < 1000; n++) void s.append(stream, note(n))
      s.query({ stream }).then((records) => console.log(records.length))
      void s.state(stream).patch('n', (n = 0) => n + 1).then(console.log)
      process.on('exit', () => console.log(s.stats().appended))
    `)
    expectClean(ended)
    expect(ended.stdout.trim().split('\n').toSorted()).toEqual(['1', '1000', '1001'])
  })

  test('a chain of promises goes on to its end', async () => {
    const ended = await run(`
      const s = await open()
      let n = 0
      const next = () => (n++ < 50 ? s.append(stream, note(n)).then(next) : s.query({ stream }))
      next().then((records) => console.log(records.length))
    `)
    expectClean(ended)
    expect(ended.stdout).toBe('50\n')
  })

  test('process.exit() in the middle of load', async () => {
    const ended = await run(`
      const s = await open()
      await s.subscribe('*', () => {})
      for (let n = 0; n < 5000; n++) void s.append(stream, note(n))
      void s.query({ stream })
      void s.queryGlobal({ pattern: '*' })
      setImmediate(() => process.exit(7))
    `)
    expectClean(ended, 7)
  })

  test('process.exit() while a store is being opened', async () => {
    expectClean(await run('void open(); process.exit(7)'), 7)
    expectClean(await run('void open(); setImmediate(() => process.exit(7))'), 7)
  })

  test('an exception that nobody catches ends the process, with its own message', async () => {
    const ended = await run(`
      const s = await open()
      await s.subscribe(stream, () => {})
      for (let n = 0; n < 1000; n++) void s.append(stream, note(n))
      throw new RangeError('lost its way')
    `)
    expect(ended).toMatchObject({ code: 1, signal: null })
    expect(ended.stderr).toContain('RangeError: lost its way')
  })

  test('an exception in a callback of a promise, too', async () => {
    const ended = await run(`
      const s = await open()
      s.append(stream, note(1)).then(() => { throw new RangeError('lost its way') })
      setInterval(() => {}, 1000)
    `)
    expect(ended).toMatchObject({ code: 1, signal: null })
    expect(ended.stderr).toContain('RangeError: lost its way')
  })

  test('a refused append that nobody awaits is an unhandled rejection like any other', async () => {
    const ended = await run(`
      const s = await open()
      s.append('', note(1))
      setInterval(() => {}, 1000)
    `)
    expect(ended).toMatchObject({ code: 1, signal: null })
    expect(ended.stderr).toContain('NQ_INVALID_EVENT')
  })

  test('a process that catches its exceptions goes on, and ends by itself', async () => {
    const ended = await run(`
      process.on('uncaughtException', (error) => console.log(error.message))
      const s = await open()
      setImmediate(() => { throw new Error('caught') })
      await new Promise((resolve) => setTimeout(resolve, 50))
      await s.append(stream, note(1))
      console.log((await s.query({ stream })).length)
    `)
    expectClean(ended)
    expect(ended.stdout).toBe('caught\n1\n')
  })

  test('a signal ends it', async () => {
    const stream = newStream()
    const code = `
      const s = await open()
      setInterval(() => void s.append(stream, note(1)), 1)
      setTimeout(() => process.kill(process.pid, 'SIGTERM'), 50)
    `
    expect(await run(code, stream)).toMatchObject({ code: null, signal: 'SIGTERM', stderr: '' })
  })
})

describe('on redis', () => {
  test('appends that nobody awaits are stored before the process ends', async () => {
    const stream = newStream()
    const ended = await runCode(`${prelude('redis', stream)}
      const s = await open()
      for (let n = 0; n < 3000; n++) void s.append(stream, note(n))
    `)
    expectClean(ended)
    expect(await count(stream)).toBe(3000)
  })

  test('close() in the middle of load stores what was accepted', async () => {
    const stream = newStream()
    const ended = await runCode(`${prelude('redis', stream)}
      const s = await open()
      for (let n = 0; n < 3000; n++) void s.append(stream, note(n))
      await s.close()
      process.exit()
    `)
    expectClean(ended)
    expect(await count(stream)).toBe(3000)
  })

  test('an open that fails keeps nothing: no attempt to connect goes on', async () => {
    const ended = await runCode(`
      import { EventStore } from './index.js'
      const options = { adapter: 'redis', redis: { port: ${await freePort()} } }
      await EventStore.open(options).catch((error) => console.log(error.code))
    `)
    expectClean(ended)
    expect(ended.stdout).toBe('NQ_UNAVAILABLE\n')
    expect(ended.afterFirstLine).toBeLessThan(BY_ITSELF_MS)
  })

  test('a pending append keeps the process until its deadline, and not longer', async () => {
    const ended = await runCode(`${prelude('redis', newStream())}
      import { Redis } from 'ioredis'
      const s = await open({ limits: { appendTimeoutMs: 400 } })
      const redis = new Redis('${server.url}')
      await redis.client('PAUSE', 1500)
      redis.disconnect()
      s.append(stream, note(1)).catch((error) => console.log(error.code))
      s.query({ stream }).catch((error) => console.log(error.code))
    `)
    expectClean(ended)
    expect(ended.stdout).toBe('NQ_TIMEOUT\nNQ_TIMEOUT\n')
  })

  test('a subscription whose server is gone does not keep the process', async () => {
    const gone = await startRedis()
    try {
      const ended = await runCode(`
        import { EventStore } from './index.js'
        const s = await EventStore.open({ adapter: 'redis', redis: { url: '${gone.url}' } })
        await s.subscribe('a', () => {})
        process.kill(${gone.pid}, 'SIGKILL')
        await new Promise((resolve) => setTimeout(resolve, 300))
        console.log('end')
      `)
      expect(ended).toMatchObject({ code: 0, signal: null })
      expect(ended.stderr).toMatch(/^\S+ WARN nuxt-queue-core: connection lost; connecting again .*\n$/)
      expect(ended.afterFirstLine).toBeLessThan(BY_ITSELF_MS)
    } finally {
      await gone.stop()
    }
  })
})
