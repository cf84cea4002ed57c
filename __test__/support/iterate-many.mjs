/**
 * Reads a large stream of Redis in a process with a small heap, and prints how much memory that took.
 * Arguments: the server's URL, the stream. With `--expose-gc`.
 */

import { EventStore } from 'nuxt-queue-core'

const [url, stream] = process.argv.slice(2)
const store = await EventStore.open({ adapter: 'redis', redis: { url } })

const memory = () => {
  globalThis.gc()
  const { heapUsed, rss } = process.memoryUsage()
  return { heapUsed, rss }
}

let [count, bytes] = [0, 0]
let [last, before] = [undefined, undefined]
const peak = { heapUsed: 0, rss: 0 }

for await (const { id, data } of store.iterate({ stream })) {
  if (last !== undefined && data.n !== last.n + 1) throw new Error(`${data.n} after ${last.n}`)
  last = { id, n: data.n }
  bytes += data.text.length
  // The first pages warm everything up.
  if (++count === 5000) before = memory()
  if (count % 5000 === 0) {
    const now = memory()
    for (const part of ['heapUsed', 'rss']) peak[part] = Math.max(peak[part], now[part] - before[part])
  }
}
await store.close()
console.log(JSON.stringify({ count, bytes, peak }))
