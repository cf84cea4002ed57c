/**
 * Ends a hundred worker threads while they append, and prints what is left of them as JSON.
 * Arguments: the URL of a Redis server, how many workers. With `--expose-gc`.
 */

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { EventStore } from 'nuxt-queue-core'

const note = { type: 'note.added', data: { text: 'x'.repeat(200) } }

if (isMainThread) await main(...process.argv.slice(2))
else await work(workerData)

async function main(url, count) {
  // Not for the workers, which have to begin quickly.
  const { Redis } = await import('ioredis')
  const watcher = new Redis(url)
  const before = await connections(watcher)
  const samples = []
  for (let n = 1; n <= Number(count); n++) {
    await startAndTerminate(url, n)
    if (n % 10 === 0) samples.push(sample())
  }
  await checkThatStoresWork(url)
  const left = await connectionsLeft(watcher, before)
  watcher.disconnect()
  console.log(JSON.stringify({ samples, left }))
}

async function checkThatStoresWork(url) {
  for (const options of [{}, { adapter: 'redis', redis: { url } }]) {
    const store = await EventStore.open(options)
    const stored = await store.append('after', note)
    const [found] = await store.query({ stream: 'after', after: '0-0', order: 'desc', limit: 1 })
    if (found?.id !== stored.id) throw new Error('the store of the main thread does not work any more')
    await store.close()
  }
}

async function connections(watcher) {
  return Number(/connected_clients:(\d+)/.exec(await watcher.info('clients'))[1])
}

/** How many connections there are more than before, once there are none or ten seconds have passed. */
async function connectionsLeft(watcher, before) {
  const deadline = Date.now() + 10_000
  for (;;) {
    // What is not closed by hand goes with what is not used any more.
    globalThis.gc()
    const left = (await connections(watcher)) - before
    if (left <= 0 || Date.now() > deadline) return left
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Starts a worker, waits until its appends are under way, and ends it: at once, or a little later. */
async function startAndTerminate(url, n) {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { url, n } })
  await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the worker ended by itself with ${code}`)))
  })
  for (let turn = 0; turn < n % 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  await worker.terminate()
}

async function work({ url, n }) {
  const memory = await EventStore.open()
  const redis = await EventStore.open({ adapter: 'redis', redis: { url } })
  const stream = `worker:${n % 10}`
  for (const store of [memory, redis]) {
    await store.subscribe(stream, () => {})
    await store.subscribe('worker:*', () => new Promise(() => {}), { after: '0-0' })
  }
  const appendMany = () => {
    for (let k = 0; k < 200; k++) {
      void redis.append(stream, note)
      void memory.append(stream, note)
    }
    void redis.query({ stream, limit: 100 })
    void redis.appendBatch(stream, [note, note], { idempotencyKey: String(n) })
  }
  appendMany()
  parentPort.postMessage('appending')
  setInterval(appendMany, 1)
}

function sample() {
  return { rss: process.memoryUsage().rss, threads: readdirSync('/proc/self/task').length }
}
