// @ts-check
/** The process that is killed, and the one that takes its place: one program, started by `crash.mjs`. */
import { open } from 'nuxt-queue-core'
import { irisFlow, irisSteps, SETTINGS } from './flow.mjs'

const [name, runId] = process.argv.slice(2)

const core = await open({
  eventStore: { adapter: 'redis', redis: { url: process.env.REDIS_URL } },
  // Others take over after two seconds instead of thirty, so that nobody has to wait for the end of the demo.
  jobs: { stallTimeout: '2s' },
  registry: { instanceId: `process-${name}` },
})
core.flows.define(irisFlow)
await core.worker('ml', irisSteps)
// The second process finds the run that the first has started.
await core.flows.start(irisFlow.name, SETTINGS, { runId })
process.send?.('ready')
process.once('SIGTERM', () => core.close().then(() => process.disconnect()))
