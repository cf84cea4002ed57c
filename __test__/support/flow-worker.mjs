// A process that works on flows, and does what the test says.
//
//   fork('flow-worker.mjs', [JSON.stringify({ config, queue, hold, worker })])
//
// It sends `{ ready: true }`, and `{ at, runId }` whenever a handler reaches a point of its code. At the point named
// `hold` the handler stops for ever. Messages: `{ hold }` names another point, or none; `{ status: [runIds], as }` is
// answered by `{ [as]: statuses }`, `{ start: [flow, input, options], as }` by what was started, `{ emit: [trigger,
// payload], as }` by the firing; `{ close: true }` ends it in good order.

import { open } from '../../index.js'
import { chain, order } from './flows.mjs'

const { config, queue, worker, ...options } = JSON.parse(process.argv[2])
let { hold } = options
const core = await open(config)
for (const flow of [order(queue), chain(queue)]) core.flows.define(flow)

/** Tells where a handler is. */
async function at(point, { runId }) {
  process.send({ at: point, runId })
  if (hold === point) await new Promise(() => {})
}

const handlers = {
  approve: async (_input, ctx) => {
    await at('begin', ctx)
    const { by } = await ctx.flow.await(`approval-${ctx.runId}`, { data: { amount: 7 } })
    await at('after-await', ctx)
    await ctx.flow.emit('approved', { by })
    await at('after-emit', ctx)
    return { by }
  },
  ship: async (input, ctx) => {
    await at('ship', ctx)
    return { shipped: input }
  },
}
for (let n = 1; n <= 5; n++) {
  handlers[`step-${n}`] = async (input, ctx) => {
    if (n < 5) await ctx.flow.emit(`done-${n}`, { n: input.n + 1 })
    return { n: input.n }
  }
}
await core.worker(queue, handlers, worker)

process.on('message', async ({ status, start, emit, as, close, ...other }) => {
  if ('hold' in other) hold = other.hold
  if (status) process.send({ [as]: await Promise.all(status.map((runId) => core.flows.status(runId))) })
  if (start) process.send({ [as]: await core.flows.start(...start) })
  if (emit) process.send({ [as]: await core.triggers.emit(...emit) })
  if (close) {
    await core.close()
    process.disconnect()
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
