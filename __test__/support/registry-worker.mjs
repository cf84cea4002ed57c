// A process that runs some steps of a flow, and says what its registry says.
//
//   fork('registry-worker.mjs', [JSON.stringify({ config, steps })])
//
// It sends `{ ready: true }`, and `{ at, runId }` whenever a step runs: `at` is `step@version of the instance's code`.
// Messages: `{ ask: [method, ...arguments], as }` is answered by `{ [as]: what the method of the registry gave }`;
// `{ start: runId, version, as }` starts a run; `{ block: ms, as }` keeps the event loop for so long; `{ close: true }` ends it in
// good order.

import { open } from '../../index.js'
import { pipeline } from './flows.mjs'

const { config, steps } = JSON.parse(process.argv[2])
const core = await open(config)
const flow = pipeline()
core.flows.define(flow)

for (const name of steps) {
  const { queue, emits } = flow.steps[name]
  const handler = async (input, ctx) => {
    process.send({ at: `${name}@${config.registry.version}`, runId: ctx.runId })
    for (const event of emits ?? []) await ctx.flow.emit(event, input)
  }
  await core.worker(queue, { [name]: handler })
}

process.on('message', async ({ ask, start, version, block, as, close }) => {
  if (ask) {
    const [method, ...args] = ask
    process.send({ [as]: (await core.registry[method](...args)) ?? null })
  }
  if (start) process.send({ [as]: await core.flows.start(flow.name, { n: 1 }, { runId: start, version }) })
  if (block) {
    const until = Date.now() + block
    while (Date.now() < until);
    process.send({ [as]: true })
  }
  if (close) {
    await core.close()
    process.disconnect()
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
