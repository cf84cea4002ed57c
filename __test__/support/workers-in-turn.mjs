// A process whose main thread never loads the addon: one worker thread after the other does, as in a server for developers.
//
//   node workers-in-turn.mjs <url of Redis> <how many>
//
// Every second one is ended without being asked.

import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

async function main(url, count) {
  let completed = 0
  for (let n = 0; n < count; n++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: url })
    const [status] = await once(worker, 'message')
    if (status === 'completed') completed++
    if (n % 2 === 0) await worker.terminate()
    else {
      worker.postMessage('close')
      await once(worker, 'exit')
    }
  }
  console.log(`${completed} runs have completed`)
}

async function work(url) {
  const { open } = await import('../../index.js')
  const core = await open({ eventStore: { adapter: 'redis', redis: { url } } })
  core.flows.define({ name: 'turn', entry: { step: 'turn', queue: 'turn' }, steps: {} })
  await core.worker('turn', { turn: () => {} })
  const { runId } = await core.flows.start('turn')
  while ((await core.flows.status(runId)).status !== 'completed') await new Promise((resolve) => setTimeout(resolve, 5))
  parentPort.once('message', () => core.close())
  parentPort.postMessage('completed')
}

if (isMainThread) await main(process.argv[2], Number(process.argv[3]))
else await work(workerData)
