/** Worker threads load the addon, use it and are ended in the middle, as Nitro's dev server does on every reload. */

import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import type { StoreOptions } from '../index.js'
import { newStream, onRedis } from './support/backends.js'
import { runFile } from './support/child.js'

const MEGABYTE = 2 ** 20
const fileOf = (name: string) => fileURLToPath(new URL(`./support/${name}`, import.meta.url))

interface Sample {
  rss: number
  threads: number
}

onRedis('worker threads', (home) => {
  // In a process of its own: a crash would end this one.
  test('100 that are ended while they append: no crash, no thread, no memory, no connection is left', async () => {
    const program = [fileOf('terminate-workers.mjs'), home.server.url, '100']
    const ended = await runFile(program, { node: ['--expose-gc'], timeoutMs: 60_000 })
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' })
    const { samples, left } = JSON.parse(ended.stdout) as { samples: Sample[]; left: number }
    expect(samples).toHaveLength(10)
    // The first thirty warm the allocators up.
    const [warm, last] = [samples[2], samples[9]] as [Sample, Sample]
    expect(last.threads).toBeLessThanOrEqual(warm.threads + 1)
    expect(last.rss - warm.rss).toBeLessThan(48 * MEGABYTE)
    expect(left).toBe(0)
  }, 70_000)

  test('that come one after the other, and are alone in using the addon', async () => {
    const ended = await runFile([fileOf('workers-in-turn.mjs'), home.server.url, '6'], { timeoutMs: 60_000 })
    expect(ended).toMatchObject({ code: 0, signal: null, stdout: '6 runs have completed\n', stderr: '' })
  })

  test('several write to one stream, each in its order, and end by themselves', async () => {
    const store = await home.open()
    const stream = newStream()
    const work = (options: StoreOptions, first: number) =>
      new Promise<number>((resolve, reject) => {
        const workerData = { options, stream, first, count: 500 }
        const worker = new Worker(fileOf('append-in-worker.mjs'), { workerData })
        worker.once('error', reject)
        worker.once('exit', resolve)
      })
    const codes = await Promise.all([0, 1000, 2000, 3000].map((first) => work(home.options, first)))
    expect(codes).toEqual([0, 0, 0, 0])
    const numbers = (await store.query({ stream })).map((record) => (record.data as unknown as { n: number }).n)
    expect(numbers).toHaveLength(2000)
    for (const first of [0, 1000, 2000, 3000]) {
      const own = numbers.filter((n) => n >= first && n < first + 1000)
      expect(own).toEqual(Array.from({ length: 500 }, (_, n) => first + n))
    }
  })
})
