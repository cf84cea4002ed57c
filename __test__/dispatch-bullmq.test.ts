/** What only BullMQ can do: workers that are gone, jobs of the original module, a server that is gone for a while. */

import { once } from 'node:events'
import { type Job, Queue, Worker } from 'bullmq'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { BullmqDispatcher, type BullmqOptions } from '../lib/dispatch/bullmq.js'
import { connectionOf } from '../lib/dispatch/bullmq-connection.js'
import { freePort } from '../scripts/lib/redis-server.mjs'
import { runCode, runFile } from './support/child.js'
import { makeJob, makeJobs, newQueue, Taker } from './support/dispatchers.js'
import { allTextOf } from './support/failure.js'
import { command, type RedisServer, startRedis, until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

let server: RedisServer
const opened: Array<{ close(): Promise<unknown> }> = []

beforeAll(async () => {
  server = await startRedis()
})
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})
afterAll(() => server.stop())

function open(options: Partial<BullmqOptions> = {}): BullmqDispatcher {
  const dispatcher = new BullmqDispatcher({ redis: { url: server.url }, ...options })
  opened.push(dispatcher)
  return dispatcher
}

/** Takes jobs; what runs at the end of the test is done then. */
async function take(dispatcher: BullmqDispatcher, queue: string, concurrency?: number): Promise<Taker> {
  const taker = await Taker.of(dispatcher, queue, concurrency)
  const close = async () => {
    const closed = taker.work?.close()
    for (const { end } of taker.taken) end({ kind: 'done' })
    await closed
  }
  opened.push({ close })
  return taker
}

/** The queue as any program with BullMQ sees it. */
function plainQueue(name: string): Queue {
  const queue = new Queue(name, { connection: { port: server.port } })
  opened.push(queue)
  return queue
}

describe('a worker that is killed', () => {
  test('another takes its job, and is told', async () => {
    const queue = newQueue()
    const dispatcher = open({ stallTimeout: 500 })
    const [job] = makeJobs(queue, 1)
    await dispatcher.dispatch([job as never])
    const ended = runFile(['__test__/support/bullmq-child.mjs', server.url, queue, '500'], {
      onStart: (child) => void once(child.stdout as never, 'data').then(() => child.kill('SIGKILL')),
    })
    expect((await ended).stdout).toBe('0\n')
    const taker = await take(dispatcher, queue)
    const [taken] = await taker.count(1)
    expect(taken?.job).toMatchObject(job as never)
    await until(() => taker.stalled.length > 0, 'onStalled')
    expect(taker.stalled).toMatchObject([{ name: 'step', data: job?.data }])
  })

  test('however often', async () => {
    const queue = newQueue()
    const dispatcher = open({ stallTimeout: 200 })
    await dispatcher.dispatch(makeJobs(queue, 1))
    for (let time = 0; time < 4; time++) {
      const ended = await runFile(['__test__/support/bullmq-child.mjs', server.url, queue, '200'], {
        onStart: (child) => void once(child.stdout as never, 'data').then(() => child.kill('SIGKILL')),
      })
      expect(ended.stdout).toBe('0\n')
    }
    await (await take(dispatcher, queue)).count(1)
  })

  test('a job that runs for longer than the timeout is not taken for lost', async () => {
    const queue = newQueue()
    const dispatcher = open({ stallTimeout: 200 })
    const takers = [await take(dispatcher, queue), await take(dispatcher, queue)]
    await dispatcher.dispatch(makeJobs(queue, 1))
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(takers.flatMap((taker) => taker.numbers)).toEqual([0])
    expect(takers.flatMap((taker) => taker.stalled)).toEqual([])
  })
})

describe('together with the original module', () => {
  test.each([
    ['its own format', { flowId: 'run-1', flowName: 'orders', orderId: 7, list: [1] }, { orderId: 7, list: [1] }],
    ['an input of its own', { flowId: 'run-1', flowName: 'orders', input: { orderId: 7 } }, { orderId: 7 }],
    ['one with a trace', { flowId: 'run-1', flowName: 'orders', traceparent: 'theirs' }, { traceparent: 'theirs' }],
    ['nothing more', { flowId: 'run-1', flowName: 'orders' }, {}],
  ])('its jobs are taken: %s', async (_what, data, input) => {
    const name = newQueue()
    await plainQueue(name).add('charge', data, { jobId: 'run-1__charge', attempts: 4, backoff: 10 })
    const taker = await take(open(), name)
    const [taken] = await taker.count(1)
    expect(taken?.job).toEqual({
      ...{ queue: name, name: 'charge', jobId: 'run-1__charge', maxAttempts: 4, isForeign: true },
      data: { runId: 'run-1', flowName: 'orders', input, attempt: 1 },
    })
  })

  test('its attempts don’t count: the engine decides', async () => {
    const name = newQueue()
    const queue = plainQueue(name)
    await queue.add('charge', { flowId: 'run-1', flowName: 'orders' }, { jobId: 'run-1__charge', attempts: 3 })
    const taker = await take(open(), name)
    for (let n = 0; n < 5; n++) await taker.end(n, { kind: 'retry', delay: 0, error: new Error('again') })
    await taker.end(5, { kind: 'failed', error: new Error('the card was refused') })
    await until(async () => (await queue.getFailedCount()) === 1, 'the failed job')
    expect(await queue.getJob('run-1__charge')).toMatchObject({ failedReason: 'the card was refused' })
  })

  test('any other job gets the run that its id names', async () => {
    const name = newQueue()
    const queue = plainQueue(name)
    await queue.add('note', 'a text', { jobId: 'note-1' })
    const taker = await take(open(), name)
    const [taken] = await taker.count(1)
    expect(taken?.job.data).toEqual({ runId: 'note-1', flowName: 'note', input: 'a text', attempt: 1 })
  })

  test('it finds the run in our jobs', async () => {
    const name = newQueue()
    const job = makeJob(name, 1)
    await open().dispatch([job])
    const stored = (await plainQueue(name).getJob(job.jobId)) as Job
    expect(stored).toMatchObject({ name: 'step', data: { flowId: job.data.runId, flowName: 'flow', input: 1 } })
    expect(stored.opts).toMatchObject({ removeOnComplete: { age: 3600, count: 1000 } })
  })

  test('a prefix keeps queues of the same name apart', async () => {
    const name = newQueue()
    await open({ prefix: 'other' }).dispatch(makeJobs(name, 1))
    expect(await plainQueue(name).count()).toBe(0)
    await (await take(open({ prefix: 'other' }), name)).count(1)
  })
})

describe('a server', () => {
  test('that restarts: jobs and workers go on by themselves', async () => {
    const own = await startRedis({ appendfsync: 'always' })
    onTestFinished(() => own.stop())
    const warnings = new Warnings()
    onTestFinished(() => warnings.stop())
    const queue = newQueue()
    const dispatcher = open({ redis: { url: own.url }, timeout: 20_000 })
    const taker = await take(dispatcher, queue, 2)
    await dispatcher.dispatch(makeJobs(queue, 1))
    await taker.count(1)
    await own.kill()
    const dispatched = dispatcher.dispatch([makeJob(queue, 1)])
    taker.taken[0]?.end({ kind: 'done' })
    await until(() => warnings.caught.length > 0, 'a warning')
    await own.restart()
    await dispatched
    await taker.count(2)
    await dispatcher.dispatch([makeJob(queue, 2)])
    await taker.end(1)
    await taker.count(3)
    expect(taker.numbers).toEqual([0, 1, 2])
    // One, however many connections are lost, and however often they are tried.
    expect(warnings.caught).toHaveLength(1)
    expect(warnings.caught[0]).toMatchObject({ name: 'NuxtQueueWarning', code: 'NQ_DISPATCH' })
  })

  test('that is gone: a hand-over fails in time, work ends in time', async () => {
    const own = await startRedis()
    onTestFinished(() => own.stop())
    const warnings = new Warnings()
    onTestFinished(() => warnings.stop())
    const queue = newQueue()
    const dispatcher = open({ redis: { url: own.url }, timeout: 300 })
    const taker = await take(dispatcher, queue)
    await dispatcher.dispatch(makeJobs(queue, 1))
    await taker.count(1)
    await own.kill()
    const failed = await dispatcher.dispatch(makeJobs(queue, 1)).catch((error) => error)
    expect(failed).toMatchObject({ code: 'NQ_UNAVAILABLE' })
    const before = Date.now()
    taker.taken[0]?.end({ kind: 'done' })
    await taker.work?.close()
    await dispatcher.close()
    expect(Date.now() - before).toBeLessThan(10_000)
  })

  test('that hangs: work ends in time', async () => {
    const own = await startRedis()
    onTestFinished(() => own.stop())
    const dispatcher = open({ redis: { url: own.url } })
    const queue = newQueue()
    await dispatcher.dispatch(makeJobs(queue, 1))
    const work = await dispatcher.work(newQueue(), async () => ({ kind: 'done' }), { concurrency: 1, onStalled() {} })
    own.pause()
    const before = Date.now()
    await Promise.all([work.close(), dispatcher.close()])
    expect(Date.now() - before).toBeLessThan(10_000)
  })

  test('that never was: work is refused in time', async () => {
    const warnings = new Warnings()
    onTestFinished(() => warnings.stop())
    const dispatcher = open({ redis: { port: await freePort() }, timeout: 300 })
    await expect(Taker.of(dispatcher, newQueue())).rejects.toMatchObject({ code: 'NQ_UNAVAILABLE' })
    await expect(dispatcher.dispatch(makeJobs(newQueue(), 2))).rejects.toMatchObject({ code: 'NQ_UNAVAILABLE' })
  })

  test('P8: that refuses the password: no text shows it', async () => {
    const own = await startRedis({ password: 'sesame-open' })
    onTestFinished(() => own.stop())
    const warnings = new Warnings()
    onTestFinished(() => warnings.stop())
    const right = open({ redis: { url: own.url } })
    await right.dispatch(makeJobs(newQueue(), 1))
    const url = `redis://:hunter2@127.0.0.1:${own.port}`
    const wrong = open({ redis: { url }, timeout: 500 })
    const error = await wrong.dispatch(makeJobs(newQueue(), 1)).catch((error) => error)
    expect(error).toMatchObject({ code: 'NQ_UNAVAILABLE' })
    await until(() => warnings.caught.length > 0, 'a warning')
    for (const text of [error, ...warnings.caught].map(allTextOf)) expect(text).not.toContain('hunter2')
  })

  test.each([
    [
      'redis://me:p%40ss@example.org:7000/3',
      { host: 'example.org', port: 7000, username: 'me', password: 'p@ss', db: 3 },
    ],
    ['rediss://example.org', { host: 'example.org', tls: {} }],
    ['redis://[::1]:7000', { host: '::1', port: 7000 }],
    ['unix:///run/redis.sock?db=2', { path: '/run/redis.sock', db: 2 }],
  ])('its address as the store reads it: %s', (url, expected) => {
    const { retryStrategy, maxRetriesPerRequest, family, ...rest } = connectionOf({ url }) as Record<string, unknown>
    expect(rest).toEqual(expected)
  })

  test('options beside the URL win over it', () => {
    const redis = { url: 'redis://me:a@example.org/3', password: 'b', db: 0, tls: { servername: 'x' }, port: 7000 }
    const expected = { host: 'example.org', username: 'me', password: 'b', db: 0, port: 7000, tls: { servername: 'x' } }
    expect(connectionOf(redis)).toMatchObject(expected)
  })
})

test('a queue that BullMQ cannot name is told so', async () => {
  const dispatcher = open()
  await expect(dispatcher.dispatch([makeJob('a:b', 1)])).rejects.toMatchObject({ code: 'NQ_CONFIG' })
  await expect(Taker.of(dispatcher, 'a:b')).rejects.toMatchObject({ code: 'NQ_CONFIG' })
})

test('without BullMQ it says what to install', async () => {
  const hooks = `export const resolve = (name, context, next) => {
    if (name === 'bullmq') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' })
    return next(name, context)
  }`
  const ended = await runCode(`
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))
    const { BullmqDispatcher } = await import('./dist/dispatch/bullmq.js')
    const dispatcher = new BullmqDispatcher({ redis: {} })
    await dispatcher.dispatch([])
    await dispatcher.dispatch([{ queue: 'a' }]).catch(({ code, message }) => console.log(code, message))
    await dispatcher.close()
  `)
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  expect(ended.stdout).toMatch(/^NQ_CONFIG .*npm install bullmq/)
})

test('a dispatcher without work does not keep the process', async () => {
  const queue = newQueue()
  const ended = await runCode(`
    import { BullmqDispatcher } from './dist/dispatch/bullmq.js'
    const dispatcher = new BullmqDispatcher({ redis: { url: '${server.url}' } })
    await dispatcher.dispatch([${JSON.stringify(makeJob(queue, 1))}])
    console.log('end')
  `)
  expect(ended).toMatchObject({ code: 0, stdout: 'end\n', stderr: '' })
  expect(ended.afterFirstLine).toBeLessThan(5000)
  expect(await plainQueue(queue).count()).toBe(1)
})

test('a process whose server is gone ends after close()', async () => {
  const own = await startRedis()
  onTestFinished(() => own.stop())
  const ended = await runCode(`
    import { BullmqDispatcher } from './dist/dispatch/bullmq.js'
    const dispatcher = new BullmqDispatcher({ redis: { url: '${own.url}' } })
    const work = await dispatcher.work('a', async () => ({ kind: 'done' }), { concurrency: 1, onStalled: () => {} })
    process.on('warning', () => {})
    await dispatcher.dispatch([])
    process.kill(${own.pid}, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 300))
    await work.close()
    await dispatcher.close()
    console.log('end')
  `)
  expect(ended).toMatchObject({ code: 0, stdout: 'end\n' })
  expect(ended.afterFirstLine).toBeLessThan(5000)
})

test('a job is worked on beside plain workers of BullMQ', async () => {
  const name = newQueue()
  const plain = new Worker(name, async () => 'plain', { connection: { port: server.port } })
  opened.push(plain)
  const job = makeJob(name, 1)
  const done = once(plain, 'completed')
  await open().dispatch([job])
  expect((await done)[0].id).toBe(job.jobId)
  expect(await command(server, 'HGET', `bull:${name}:${job.jobId}`, 'returnvalue')).toBe('"plain"')
})
