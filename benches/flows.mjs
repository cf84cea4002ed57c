// Runs of a few steps, one after the other, on this package and on plain BullMQ.
//
//   run(id, n) → resolves when its last handler returns     settle(ids) → resolves when all are completed
//   check(ids) throws when something is missing or double     forget(ids)     close()
//
// Nobody watches the runs meanwhile, on neither side: what is measured is the work alone.

import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { Queue, Worker } from 'bullmq'
import { CORE } from './subjects.mjs'

export const STEPS = 5
const CONCURRENCY = 10
const FLOW = 'bench'
const KEEP = { removeOnComplete: { age: 3600, count: 1000 }, removeOnFail: { age: 7 * 86_400, count: 5000 } }

/** What a step is given and what it returns: about 150 bytes of JSON. */
const payload = (n) => ({
  n,
  order: `order-${n}`,
  item: 'jasmine tea, loose leaf, 250 g',
  note: 'leave it at the door',
})

/** A job per step; each adds the next one before it ends. */
export function plainBullmq(port) {
  return { name: 'plain BullMQ', open: () => openBullmq(port) }
}

export function coreFlows(port) {
  const redis = { host: '127.0.0.1', port }
  return { name: CORE, core: true, open: () => openFlows({ adapter: 'redis', redis }) }
}

export function coreFlowsInMemory() {
  return { name: CORE, core: true, open: () => openFlows({ adapter: 'memory' }) }
}

/** The same, told to OpenTelemetry's SDK, which makes spans and gives them to nobody. */
export function tracedFlowsInMemory() {
  return { name: `${CORE}, with an SDK`, core: true, open: openTraced }
}

/** The same with `telemetry: false`. */
export function untracedFlowsInMemory() {
  return {
    name: `${CORE}, telemetry: false`,
    core: true,
    open: () => openFlows({ adapter: 'memory' }, { telemetry: false }),
  }
}

async function openTraced() {
  const provider = new BasicTracerProvider()
  trace.setGlobalTracerProvider(provider)
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  const flows = await openFlows({ adapter: 'memory' })
  const close = async () => {
    await flows.close()
    trace.disable()
    context.disable()
  }
  return { ...flows, close }
}

async function openBullmq(port) {
  const options = { connection: { port, maxRetriesPerRequest: null } }
  const queue = new Queue('plain', options)
  const ends = new Ends()
  const add = (id, step, input) => queue.add(`step-${step}`, { id, step, input }, { ...KEEP, jobId: `${id}__${step}` })
  const process = async ({ data: { id, step, input } }) => {
    if (step < STEPS) await add(id, step + 1, payload(input.n + 1))
    else ends.reach(id)
    return payload(input.n)
  }
  const worker = new Worker('plain', process, { ...options, concurrency: CONCURRENCY })
  await worker.waitUntilReady()
  return {
    run: async (id, n) => {
      const end = ends.of(id)
      await add(id, 1, payload(n))
      await end
    },
    settle: () => until(async () => (await queue.getActiveCount()) === 0),
    check: async () => {
      if ((await queue.getFailedCount()) > 0) throw new Error('jobs have failed')
    },
    forget: async () => {},
    close: async () => {
      await worker.close()
      await queue.obliterate({ force: true })
      await queue.close()
    },
  }
}

async function openFlows(eventStore, config = {}) {
  const { open } = await import('../index.js')
  const core = await open({ ...config, eventStore })
  const ends = new Ends()
  core.flows.define({ name: FLOW, entry: { step: 'step-1', queue: FLOW }, steps: chain() })
  const worker = await core.worker(FLOW, handlers(ends), { concurrency: CONCURRENCY })
  return {
    run: async (runId, n) => {
      const end = ends.of(runId)
      await core.flows.start(FLOW, payload(n), { runId })
      await end
    },
    settle: async (ids) => {
      for (const id of ids.slice(-CONCURRENCY)) {
        await until(async () => (await core.flows.status(id)).status === 'completed')
      }
    },
    check: async (ids) => {
      for (const id of ids) {
        const events = await core.store.query({
          stream: `nq:flow:${id}`,
          types: ['flow.step.completed', 'flow.completed'],
        })
        if (events.length !== STEPS + 1) throw new Error(`${id} has ${events.length} events of completion`)
      }
    },
    forget: async (ids) => {
      for (const id of ids) await core.store.deleteStream(`nq:flow:${id}`)
    },
    close: async () => {
      await worker.close()
      await core.close()
    },
  }
}

function chain() {
  const steps = {}
  for (let step = 1; step <= STEPS; step++) {
    const subscribes = step > 1 ? [`done-${step - 1}`] : []
    steps[`step-${step}`] = { queue: FLOW, subscribes, emits: step < STEPS ? [`done-${step}`] : [] }
  }
  return steps
}

function handlers(ends) {
  const handlers = {}
  for (let step = 1; step <= STEPS; step++) {
    handlers[`step-${step}`] = async (input, ctx) => {
      if (step < STEPS) await ctx.flow.emit(`done-${step}`, payload(input.n + 1))
      else ends.reach(ctx.runId)
      return payload(input.n)
    }
  }
  return handlers
}

/** Who waits for the last handler of a run. */
class Ends {
  #resolve = new Map()

  of(id) {
    return new Promise((resolve) => this.#resolve.set(id, resolve))
  }

  reach(id) {
    this.#resolve.get(id)?.()
    this.#resolve.delete(id)
  }
}

async function until(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 1))
}
