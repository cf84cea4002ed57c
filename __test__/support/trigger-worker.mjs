// A process that fires triggers, as the test says, on as many connections as it is given URLs.
//
//   fork('trigger-worker.mjs', [JSON.stringify({ urls, queue })])
//
// `queue`: it also works on the flows of `fulfilment`. Messages: `{ fire: [{ core, name, payload, key, request }], inFlight, as }`
// fires them, at most `inFlight` at a time or all at once, a request through `handleWebhook`, and is answered by
// `{ [as]: what came of each }`; `{ close: true }` ends it in good order.

import { open } from '../../index.js'
import { fulfilment } from './flows.mjs'

const { urls, queue } = JSON.parse(process.argv[2])
const cores = await Promise.all(urls.map((url) => open({ eventStore: { adapter: 'redis', redis: { url } } })))
if (queue) {
  for (const flow of fulfilment(queue)) cores[0].flows.define(flow)
  await cores[0].worker(queue, { pack: async () => 'packed', bill: async () => 'billed' })
}

async function fire({ core = 0, name, payload, key, request }) {
  const engine = cores[core].triggers
  if (request) return await engine.handleWebhook({ ...request, body: Buffer.from(request.body) })
  return await engine.emit(name, payload, key === undefined ? {} : { idempotencyKey: key })
}

async function fireAll(firings, inFlight = firings.length) {
  const fired = []
  let next = 0
  const lane = async () => {
    for (let n = next++; n < firings.length; n = next++) fired[n] = await fire(firings[n])
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return fired
}

process.on('message', async ({ fire: firings, inFlight, as, close }) => {
  if (firings) process.send({ [as]: await fireAll(firings, inFlight) })
  if (close) {
    await Promise.all(cores.map((core) => core.close()))
    process.disconnect()
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
