/** Both dispatchers play one suite; what only BullMQ can do comes after it, in `dispatch-bullmq.test.ts`. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { BullmqDispatcher } from '../lib/dispatch/bullmq.js'
import type { Dispatcher } from '../lib/dispatch/dispatcher.js'
import { InProcessDispatcher } from '../lib/dispatch/in-process.js'
import { makeJob, makeJobs, newQueue, systemTimers, Taker } from './support/dispatchers.js'
import { type RedisServer, startRedis } from './support/redis.js'

let server: RedisServer

const OPEN: Record<string, () => Dispatcher> = {
  'in process': () => new InProcessDispatcher(systemTimers),
  'through BullMQ': () => new BullmqDispatcher({ redis: { url: server.url } }),
}

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

test('in process, it is told when no job of a run is there any more', async () => {
  const dispatcher = new InProcessDispatcher(systemTimers)
  const queue = newQueue()
  const first = makeJob(queue, 1)
  const second = { ...makeJob(queue, 2), data: first.data, jobId: `${first.jobId}-2` }
  expect(dispatcher.whenGone(first.data.runId)).toBeUndefined()
  await dispatcher.dispatch([first, second, first])
  let gone = false
  const whenGone = dispatcher.whenGone(first.data.runId)?.then(() => {
    gone = true
  })
  const taker = await Taker.of(dispatcher, queue)
  await taker.end(0, { kind: 'retry', delay: 0, error: new Error('again') })
  await taker.end(1)
  await taker.count(3)
  expect(gone).toBe(false)
  await taker.end(2)
  await whenGone
  await taker.work?.close()
  expect(dispatcher.whenGone(first.data.runId)).toBeUndefined()
  await dispatcher.close()
})

describe.each(Object.keys(OPEN))('%s', (name) => {
  let dispatcher: Dispatcher
  const takers: Taker[] = []
  const take = async (queue: string, concurrency?: number) => {
    const taker = await Taker.of(dispatcher, queue, concurrency)
    takers.push(taker)
    return taker
  }

  beforeAll(() => {
    dispatcher = OPEN[name]?.() as Dispatcher
  })
  afterEach(async () => {
    for (const { taken } of takers) for (const { end } of taken) end({ kind: 'done' })
    await Promise.all(takers.splice(0).map(({ work }) => work?.close()))
  })
  afterAll(() => dispatcher.close())

  test('a job arrives as it was handed over', async () => {
    const queue = newQueue()
    const job = makeJob(queue, 1)
    job.data.input = { list: [1, null], text: 'ü', nested: { input: true } }
    await dispatcher.dispatch([job])
    const taker = await take(queue)
    const [taken] = await taker.count(1)
    expect(taken?.job).toMatchObject(job)
    expect(taken?.job.maxAttempts).toBeUndefined()
  })

  test('jobs wait for somebody to run them, and run in their order', async () => {
    const queue = newQueue()
    const jobs = makeJobs(queue, 12)
    await dispatcher.dispatch(jobs.slice(0, 5))
    await dispatcher.dispatch(jobs.slice(5, 6))
    await dispatcher.dispatch(jobs.slice(6))
    const taker = await take(queue)
    for (let n = 0; n < 12; n++) await taker.end(n)
    expect(taker.numbers).toEqual(jobs.map(({ data }) => data.input))
  })

  test('no more run at the same time than were asked for', async () => {
    const queue = newQueue()
    const taker = await take(queue, 3)
    await dispatcher.dispatch(makeJobs(queue, 9))
    for (let n = 3; n <= 9; n += 3) {
      await taker.count(n)
      await dispatcher.dispatch([])
      expect(taker.taken).toHaveLength(n)
      for (const { end } of taker.taken.slice(n - 3)) end({ kind: 'done' })
    }
  })

  test('several who work on one queue share its jobs', async () => {
    const queue = newQueue()
    const both = [await take(queue), await take(queue)]
    await dispatcher.dispatch(makeJobs(queue, 2))
    await Promise.all(both.map((taker) => taker.count(1)))
    expect(both.flatMap((taker) => taker.numbers).toSorted()).toEqual([0, 1])
  })

  test('queues and jobs of the same names don’t meet', async () => {
    const [queue, other] = [newQueue(), newQueue()]
    const job = makeJob(queue, 1)
    await dispatcher.dispatch([job, { ...job, queue: other }])
    const takers = [await take(queue), await take(other)]
    for (const taker of takers) await taker.count(1)
    expect(takers.map((taker) => taker.taken[0]?.job.queue)).toEqual([queue, other])
  })

  test('a job that is in the queue, running or delayed is not put there again', async () => {
    const queue = newQueue()
    const [job, last] = makeJobs(queue, 2) as [ReturnType<typeof makeJob>, ReturnType<typeof makeJob>]
    await dispatcher.dispatch([job, job])
    await dispatcher.dispatch([job])
    const taker = await take(queue)
    await taker.count(1)
    await dispatcher.dispatch([job], { again: true })
    await taker.end(0, { kind: 'retry', delay: 300, error: new Error('not yet') })
    await dispatcher.dispatch([job])
    await dispatcher.dispatch([job], { again: true })
    await taker.end(1)
    await dispatcher.dispatch([last])
    await taker.end(2)
    expect(taker.numbers).toEqual([0, 0, 1])
  })

  test.each([{ kind: 'done' }, { kind: 'suspended' }, { kind: 'failed', error: new Error('lost') }] as const)(
    'a job that ended as $kind runs again when the record says that it has to',
    async (outcome) => {
      const queue = newQueue()
      const job = makeJob(queue, 1)
      const taker = await take(queue)
      await dispatcher.dispatch([job])
      await taker.end(0, outcome)
      await dispatcher.idle()
      // Its end may still be on the way to the queue.
      while (taker.taken.length < 2) {
        await dispatcher.dispatch([job], { again: true })
        await taker.count(2, 100).catch(() => {})
      }
      expect(taker.taken[1]?.job).toMatchObject(job)
    },
  )

  test('a job to retry comes after its delay, and others meanwhile', async () => {
    const queue = newQueue()
    const taker = await take(queue)
    const [first, second] = makeJobs(queue, 2)
    await dispatcher.dispatch([first as never])
    await taker.count(1)
    const before = Date.now()
    taker.taken[0]?.end({ kind: 'retry', delay: 500, error: new Error('not yet') })
    await dispatcher.dispatch([second as never])
    await taker.end(1)
    await taker.count(3)
    // Timers of Node may be a millisecond early.
    expect(Date.now() - before).toBeGreaterThanOrEqual(499)
    expect(taker.numbers).toEqual([0, 1, 0])
  })

  test('a job to retry at once', async () => {
    const queue = newQueue()
    const taker = await take(queue)
    await dispatcher.dispatch([makeJob(queue, 1)])
    for (let n = 0; n < 5; n++) await taker.end(n, { kind: 'retry', delay: 0, error: new Error('again') })
    await taker.count(6)
  })

  test('a failed job does not hold up the queue, and is not run again', async () => {
    const queue = newQueue()
    const taker = await take(queue)
    await dispatcher.dispatch(makeJobs(queue, 3))
    for (let n = 0; n < 3; n++) await taker.end(n, { kind: 'failed', error: n === 1 ? 'a text' : new Error('lost') })
    await dispatcher.dispatch([makeJob(queue, 3)])
    await taker.end(3)
    expect(taker.numbers).toEqual([0, 1, 2, 3])
  })

  test('a job whose outcome is unknown is handed out again', async () => {
    const queue = newQueue()
    const taker = await take(queue)
    await dispatcher.dispatch([makeJob(queue, 1)])
    const [taken] = await taker.count(1)
    taken?.reject(new Error('the store is gone'))
    await taker.count(2)
    expect(taker.numbers).toEqual([1, 1])
  })

  test('closing work waits for what runs and leaves the rest to others', async () => {
    const queue = newQueue()
    const taker = await take(queue, 2)
    await dispatcher.dispatch(makeJobs(queue, 5))
    await taker.count(2)
    let isClosed = false
    const closed = taker.work?.close().then(() => {
      isClosed = true
    })
    taker.taken[0]?.end({ kind: 'done' })
    await dispatcher.dispatch([makeJob(queue, 5)])
    const other = await take(queue, 5)
    await other.count(4)
    expect(isClosed).toBe(false)
    taker.taken[1]?.end({ kind: 'done' })
    await closed
    expect(taker.numbers).toEqual([0, 1])
    expect(other.numbers).toEqual([2, 3, 4, 5])
  })

  test('a job that is to be retried while its worker closes is left to others', async () => {
    const queue = newQueue()
    const taker = await take(queue)
    await dispatcher.dispatch([makeJob(queue, 1)])
    await taker.count(1)
    const closed = taker.work?.close()
    taker.taken[0]?.end({ kind: 'retry', delay: 1, error: new Error('not yet') })
    await closed
    await (await take(queue)).count(1)
    expect(taker.taken).toHaveLength(1)
  })

  test('it is idle when nothing runs', async () => {
    const queue = newQueue()
    await dispatcher.idle()
    const taker = await take(queue, 2)
    await dispatcher.dispatch(makeJobs(queue, 2))
    await taker.count(2)
    let isIdle = false
    const idle = dispatcher.idle().then(() => {
      isIdle = true
    })
    await taker.end(0)
    await dispatcher.dispatch([])
    expect(isIdle).toBe(false)
    await taker.end(1)
    await idle
  })

  test('after close() nothing is taken', async () => {
    const closed = OPEN[name]?.() as Dispatcher
    await closed.dispatch([makeJob(newQueue(), 1)])
    await closed.close()
    await closed.close()
    await expect(closed.dispatch([makeJob(newQueue(), 1)])).rejects.toMatchObject({ code: 'NQ_CLOSED' })
    await expect(Taker.of(closed, newQueue())).rejects.toMatchObject({ code: 'NQ_CLOSED' })
  })
})

describe('in process', () => {
  test('it is idle when all who run only wait, and when jobs rest or have nobody', async () => {
    const dispatcher = new InProcessDispatcher(systemTimers)
    const [queue, deserted] = [newQueue(), newQueue()]
    const taker = await Taker.of(dispatcher, queue, 2)
    await dispatcher.dispatch([...makeJobs(queue, 3), makeJob(deserted, 3)])
    await taker.count(2)
    taker.taken[0]?.job.waiting?.(true)
    taker.taken[1]?.job.waiting?.(true)
    await taker.end(2)
    await dispatcher.idle()
    taker.taken[1]?.job.waiting?.(false)
    let isIdle = false
    const idle = dispatcher.idle().then(() => {
      isIdle = true
    })
    await dispatcher.dispatch([])
    expect(isIdle).toBe(false)
    await taker.end(1, { kind: 'retry', delay: 60_000, error: new Error('later') })
    await idle
    // After its end nobody cares.
    taker.taken[1]?.job.waiting?.(false)
    await dispatcher.idle()
    expect(taker.numbers).toEqual([0, 1, 2])
    await dispatcher.close()
  })

  test('one that waits makes room for another', async () => {
    const dispatcher = new InProcessDispatcher(systemTimers)
    const queue = newQueue()
    const taker = await Taker.of(dispatcher, queue)
    await dispatcher.dispatch(makeJobs(queue, 5))
    for (let n = 0; n < 3; n++) {
      await taker.count(n + 1)
      expect(taker.taken).toHaveLength(n + 1)
      taker.taken[n]?.job.waiting?.(true)
    }
    await taker.count(4)
    // Two work now where there is room for one.
    taker.taken[0]?.job.waiting?.(false)
    await taker.end(3)
    await dispatcher.dispatch([])
    expect(taker.taken).toHaveLength(4)
    await taker.end(0)
    await taker.count(5)
    await taker.end(4)
    await dispatcher.idle()
    await dispatcher.close()
  })

  test('close() drops what is in the queues or rests', async () => {
    const dispatcher = new InProcessDispatcher(systemTimers)
    const queue = newQueue()
    const taker = await Taker.of(dispatcher, queue)
    await dispatcher.dispatch(makeJobs(queue, 3))
    await taker.end(0, { kind: 'retry', delay: 1, error: new Error('not yet') })
    await taker.count(2)
    await dispatcher.close()
    await taker.end(1, { kind: 'retry', delay: 0, error: new Error('not yet') })
    await taker.work?.close()
    await dispatcher.idle()
    expect(taker.numbers).toEqual([0, 1])
  })

  test('100,000 jobs pass in a moment', async () => {
    const dispatcher = new InProcessDispatcher(systemTimers)
    const queue = newQueue()
    let ran = 0
    await dispatcher.dispatch(makeJobs(queue, 100_000))
    const run = async () => {
      ran++
      return { kind: 'done' } as const
    }
    await dispatcher.work(queue, run, { concurrency: 10, onStalled: () => {} })
    await dispatcher.idle()
    expect(ran).toBe(100_000)
  })
})
