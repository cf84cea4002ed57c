// Works on a queue through BullMQ: prints the number of each job that it takes, and keeps it running for ever.
//
//   node bullmq-child.mjs <url> <queue> <stall timeout in ms>

import { BullmqDispatcher } from '../../dist/dispatch/bullmq.js'

const [url, queue, stallTimeout] = process.argv.slice(2)
const dispatcher = new BullmqDispatcher({ redis: { url }, stallTimeout: Number(stallTimeout) })
const run = (job) => {
  console.log(job.data.input)
  return new Promise(() => {})
}
await dispatcher.work(queue, run, { concurrency: 1, onStalled: () => {} })
