// A process that runs one step of a flow, and is traced.
//
//   fork('telemetry-worker.mjs', [JSON.stringify({ url, flow, step })])
//
// It sends `{ ready: true }`. `{ spans: true, as }` is answered by `{ [as]: the spans that have ended }`; `{ close: true }` ends it.

import { open } from '../../index.js'
import { registerSdk } from './telemetry.mjs'

const { url, flow, step } = JSON.parse(process.argv[2])
const sdk = registerSdk()
const core = await open({ eventStore: { adapter: 'redis', redis: { url } } })
core.flows.define(flow)
const { queue, emits = [] } = flow.steps[step]
const handler = async (_, ctx) => {
  for (const event of emits) await ctx.flow.emit(event)
}
await core.worker(queue, { [step]: handler })

process.on('message', async ({ spans, as, close }) => {
  if (spans) process.send({ [as]: sdk.spans() })
  if (close) {
    await core.close()
    process.disconnect()
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
