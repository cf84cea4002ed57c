/** What the package has to say: on stderr up to the level of NQ_LOG, or to callbacks, and never at anyone's cost. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Diagnostic } from '../index.js'
import { type ChildOptions, type Ended, runCode } from './support/child.js'
import { type RedisServer, startRedis } from './support/redis.js'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

/** `open` opens a store on Redis, `cut` cuts its connection and waits until it is mended. */
const prelude = () => `
  import { Worker } from 'node:worker_threads'
  import { Redis } from 'ioredis'
  import { EventStore, onDiagnostic } from './index.js'
  const note = { type: 'note.added', data: 1 }
  const open = () => EventStore.open({ adapter: 'redis', redis: { url: '${server.url}' } })
  const cut = async (store) => {
    const redis = new Redis('${server.url}')
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    redis.disconnect()
    // Until the loss is noticed a read may still fail, or be sent in vain.
    while (!(await store.deleteStream('none').then(() => true, () => false)));
    await store.deleteStream('none')
  }
  /** A thread that runs a module until it is terminated, once that has posted a message. */
  const start = (code) => new Promise((resolve, reject) => {
    const text = \`import { parentPort } from 'node:worker_threads'
      import { EventStore, onDiagnostic } from '\${import.meta.resolve('nuxt-queue-core')}'
      parentPort.on('message', () => {})
      \${code}\`
    const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(text)))
    worker.once('message', () => resolve(worker))
    worker.once('error', reject)
  })
`

async function run(code: string, options?: ChildOptions): Promise<Ended> {
  const ended = await runCode(prelude() + code, options)
  expect(ended).toMatchObject({ code: 0, signal: null })
  return ended
}

/** Loses a connection, which is a warning, and gets another one, which is information. */
const lose = 'const store = await open(); await cut(store); await store.close();'

const lines = (text: string) => text.split('\n').slice(0, -1)
const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\w+) nuxt-queue-core: (.*)$/
const levels = (text: string) => lines(text).map((line) => LINE.exec(line)?.[1])
const messages = (text: string) => lines(text).map((line) => LINE.exec(line)?.[2])
const printed = (ended: Ended) => lines(ended.stdout).map((line) => JSON.parse(line) as Diagnostic)

describe('on stderr', () => {
  test.each([
    ['off', []],
    ['error', []],
    ['warn', ['WARN']],
    ['info', ['WARN', 'INFO']],
    ['INFO', ['WARN', 'INFO']],
    ['', ['WARN']],
    [undefined, ['WARN']],
  ])('NQ_LOG=%s', async (NQ_LOG, expected) => {
    const ended = await run(lose, { env: { NQ_LOG } })
    expect(levels(ended.stderr)).toEqual(expected)
    expect(ended.stdout).toBe('')
  })

  test.each(['debug', 'trace'])('NQ_LOG=%s', async (NQ_LOG) => {
    const { stderr } = await run(lose, { env: { NQ_LOG } })
    expect(new Set(levels(stderr))).toEqual(new Set(['DEBUG', 'WARN', 'INFO']))
    expect(messages(stderr)).toContain(`connected again server="127.0.0.1:${server.port}"`)
  })

  test('one line each, that begins with when and how urgent it is', async () => {
    const [line] = lines((await run(lose)).stderr)
    expect(line).toMatch(LINE)
    expect(line).toContain('connection lost; connecting again server="127.0.0.1:')
    expect(line).toContain(' error="NQ_UNAVAILABLE: ')
  })

  test.each(['loud', 'warn,nuxt_queue_core=debug', '\u{1b}[31m'])(
    'NQ_LOG=%j is warn, and said so once',
    async (NQ_LOG) => {
      const { stderr } = await run(`await EventStore.open(); ${lose}`, { env: { NQ_LOG } })
      expect(levels(stderr)).toEqual(['WARN', 'WARN'])
      expect(messages(stderr)[0]).toMatch(/NQ_LOG is none of off, error, warn, info, debug and trace; taken as warn/)
    },
  )

  test('texts of others end no line and reach no terminal', async () => {
    const open = 'void EventStore.open({ prefix: `"a"\\\\ü` })'
    const { stderr } = await run(open, { env: { NQ_LOG: 'debug' } })
    expect(messages(stderr)).toEqual([String.raw`store opened prefix="\"a\"\\ü"`])
  })

  test.each(['trace', 'loud'])('a reader that is gone harms nothing, NQ_LOG=%s', async (NQ_LOG) => {
    const onStart: ChildOptions['onStart'] = (child) => child.stderr?.destroy()
    const ended = await run(`${lose} console.log('end')`, { env: { NQ_LOG }, onStart })
    expect(ended.stdout).toBe('end\n')
  })
})

describe('to a callback', () => {
  const print = '(diagnostic) => console.log(JSON.stringify(diagnostic))'

  test('in place of stderr, with everything apart', async () => {
    const ended = await run(`onDiagnostic(${print}, { level: 'info' }); ${lose}`)
    expect(ended.stderr).toBe('')
    const [lost, mended] = printed(ended)
    expect(lost).toEqual({
      level: 'warn',
      message: 'connection lost; connecting again',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      target: 'nuxt_queue_core::backend::redis::link',
      fields: { server: `127.0.0.1:${server.port}`, error: expect.stringContaining('NQ_UNAVAILABLE: ') },
    })
    expect(mended).toMatchObject({ level: 'info', message: 'connected again' })
  })

  test.each([
    ['warn by itself', undefined, '{}', ['warn']],
    ['that of NQ_LOG', 'info', '{}', ['warn', 'info']],
    ['nothing, if NQ_LOG says so', 'off', '{}', []],
    ['its own, below NQ_LOG', 'off', `{ level: 'info' }`, ['warn', 'info']],
    ['its own, above NQ_LOG', 'trace', `{ level: 'error' }`, []],
  ])('the level is %s', async (_what, NQ_LOG, options, expected) => {
    const ended = await run(`onDiagnostic(${print}, ${options}); ${lose}`, { env: { NQ_LOG } })
    expect(printed(ended).map((diagnostic) => diagnostic.level)).toEqual(expected)
    expect(ended.stderr).toBe('')
  })

  test('a level of NQ_LOG that is none is told to it, too', async () => {
    const ended = await run(`onDiagnostic(${print})`, { env: { NQ_LOG: 'loud' } })
    expect(printed(ended)).toMatchObject([{ level: 'warn', message: expect.stringContaining('NQ_LOG') }])
    expect(ended.stderr).toBe('')
  })

  test('each gets its own level; when the last is ended, stderr has it again', async () => {
    const ended = await run(`
      const seen = [[], []]
      const stops = ['warn', 'debug'].map((level, n) => onDiagnostic(({ message }) => seen[n].push(message), { level }))
      void EventStore.open()
      ${lose}
      while (!seen[1].includes('store closed')) await new Promise(setImmediate)
      stops[1]()
      const another = await open()
      await cut(another)
      while (seen[0].length < 2) await new Promise(setImmediate)
      stops[0]()
      stops[0]()
      await cut(another)
      console.log(JSON.stringify(seen))
    `)
    const [warnings, all] = JSON.parse(ended.stdout) as [string[], string[]]
    const lost = 'connection lost; connecting again'
    expect(warnings).toEqual([lost, lost])
    expect(all).toEqual(expect.arrayContaining(['store opened', lost, 'connected again', 'store closed']))
    expect(all.filter((message) => message === lost)).toHaveLength(1)
    expect(messages(ended.stderr)).toEqual([expect.stringContaining(lost)])
  })

  test('no call begins after it was ended, also by itself', async () => {
    const ended = await run(`
      let calls = 0
      const stop = onDiagnostic(() => { calls++; stop() }, { level: 'debug' })
      for (let n = 0; n < 10; n++) void EventStore.open()
      await new Promise((resolve) => setTimeout(resolve, 100))
      console.log(calls)
    `)
    expect(ended.stdout).toBe('1\n')
  })

  test('one that throws or rejects is reported once and called again', async () => {
    for (const failing of [
      '() => { calls++; throw new RangeError("mine") }',
      'async () => { calls++; throw "mine" }',
    ]) {
      const ended = await run(`
        let calls = 0
        onDiagnostic(${failing}, { level: 'debug' })
        for (let n = 0; n < 10; n++) await EventStore.open()
        await new Promise((resolve) => setTimeout(resolve, 100))
        console.log(calls)
      `)
      expect(ended.stdout).toBe('10\n')
      expect(ended.stderr.match(/NuxtQueueWarning: A callback of onDiagnostic failed/g)).toHaveLength(1)
      expect(ended.stderr).toContain('mine')
    }
  })

  test('what it does may bring further diagnostics: they come later, not in its midst', async () => {
    const ended = await run(`
      let [calls, depth, deepest] = [0, 0, 0]
      onDiagnostic(() => {
        deepest = Math.max(deepest, ++depth)
        if (++calls < 2000) void EventStore.open()
        depth--
      }, { level: 'debug' })
      void EventStore.open()
      while (calls < 2000) await new Promise(setImmediate)
      console.log(calls, deepest)
    `)
    expect(ended.stdout).toBe('2000 1\n')
  })

  test('what it has no time for is dropped beyond 1024, and counted', async () => {
    const ended = await run(`
      const seen = []
      onDiagnostic(({ message, fields }) => seen.push({ message, ...fields }), { level: 'debug' })
      for (let n = 0; n < 3000; n++) void EventStore.open({ prefix: 'p' + n })
      while (seen.length < 1025) await new Promise(setImmediate)
      void EventStore.open({ prefix: 'last' })
      while (seen.length < 1026) await new Promise(setImmediate)
      console.log(JSON.stringify(seen))
    `)
    const seen = JSON.parse(ended.stdout) as Array<{ message: string; prefix?: string; dropped?: number }>
    const opened = (prefix: string) => ({ message: 'store opened', prefix })
    expect(seen.slice(0, 1024)).toEqual(Array.from({ length: 1024 }, (_, n) => opened(`p${n}`)))
    expect(seen.slice(1024)).toEqual([
      { message: expect.stringContaining('dropped'), dropped: 3000 - 1024 },
      opened('last'),
    ])
  })

  test('it keeps no process, and gets what came last', async () => {
    const ended = await run(`
      onDiagnostic(({ message }) => console.log(message), { level: 'debug' })
      console.log('begin')
      process.on('exit', () => void EventStore.open())
      void EventStore.open()
    `)
    expect(ended.stdout).toBe('begin\nstore opened\n')
    expect(ended.afterFirstLine).toBeLessThan(4000)
  })
})

describe('threads', () => {
  test('a callback in one is told of what happens in all; when the thread ends, stderr has it again', async () => {
    const ended = await run(`
      const watcher = await start(\`
        onDiagnostic(({ message }) => parentPort.postMessage(message))
        parentPort.postMessage('ready')
      \`)
      const told = new Promise((resolve) => watcher.once('message', resolve))
      const store = await open()
      await cut(store)
      console.log(await told)
      await watcher.terminate()
      console.log('terminated')
      await cut(store)
      await store.close()
    `)
    expect(ended.stdout).toBe('connection lost; connecting again\nterminated\n')
    expect(levels(ended.stderr)).toEqual(['WARN'])
  })

  test('a level that only an ended thread wanted is wanted no more', async () => {
    const ended = await run(`
      const watcher = await start(\`onDiagnostic(() => {}, { level: 'error' }); parentPort.postMessage('ready')\`)
      await watcher.terminate()
      ${lose}
    `)
    expect(levels(ended.stderr)).toEqual(['WARN'])
  })

  test('many that are ended in the middle of their callbacks', async () => {
    const ended = await run(
      `
      const begin = () => start(\`
        onDiagnostic(() => { for (const end = Date.now() + 2; Date.now() < end;); }, { level: 'debug' })
        setInterval(() => { for (let n = 0; n < 20; n++) void EventStore.open() }, 1)
        void EventStore.open()
        parentPort.postMessage('ready')
      \`)
      for (let round = 0; round < 10; round++) {
        const workers = await Promise.all([begin(), begin(), begin()])
        for (const worker of workers) {
          for (let n = 0; n < 20; n++) await (await EventStore.open()).close()
          await worker.terminate()
        }
      }
      ${lose}
      `,
      { timeoutMs: 60_000 },
    )
    expect(levels(ended.stderr)).toEqual(['WARN'])
  }, 70_000)
})
