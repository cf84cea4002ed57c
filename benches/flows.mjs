// Runs of a few steps, one after the other, on this package and on plain BullMQ.
//
//   run(id, n) → resolves when the run is completed     check(ids) throws when one isn't     forget(ids)     close()

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

async function openBullmq(port) {
  const options = { connection: { port, maxRetriesPerRequest: null } }
  const queue = new Queue('plain', options)
  const waiting = new Waiting()
  const add = (id, step, input) => queue.add(`step-${step}`, { id, step, input }, { ...KEEP, jobId: `${id}__${step}` })
  const process = async ({ data: { id, step, input } }) => {
    if (step < STEPS) await add(id, step + 1, payload(input.n + 1))
    return payload(input.n)
  }
  const worker = new Worker('plain', process, { ...options, concurrency: CONCURRENCY })
  worker.on('completed', ({ data: { id, step } }) => step === STEPS && waiting.done(id))
  await worker.waitUntilReady()
  return {
    run: async (id, n) => {
      const done = waiting.for(id)
      await add(id, 1, payload(n))
      await done
    },
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

async function openFlows(eventStore) {
  const { open } = await import('../index.js')
  const core = await open({ eventStore })
  const waiting = new Waiting()
  core.flows.define({ name: FLOW, entry: { step: 'step-1', queue: FLOW }, steps: chain() })
  const worker = await core.worker(FLOW, handlers(), { concurrency: CONCURRENCY })
  await core.store.subscribe('nq:flow:bench-*', ({ type, runId }) => type === 'flow.completed' && waiting.done(runId))
  return {
    run: async (runId, n) => {
      const done = waiting.for(runId)
      await core.flows.start(FLOW, payload(n), { runId })
      await done
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

function handlers() {
  const handlers = {}
  for (let step = 1; step <= STEPS; step++) {
    handlers[`step-${step}`] = async (input, ctx) => {
      if (step < STEPS) await ctx.flow.emit(`done-${step}`, payload(input.n + 1))
      return payload(input.n)
    }
  }
  return handlers
}

/** Who waits for the end of a run. */
class Waiting {
  #resolve = new Map()

  for(id) {
    return new Promise((resolve) => this.#resolve.set(id, resolve))
  }

  done(id) {
    this.#resolve.get(id)?.()
    this.#resolve.delete(id)
  }
}
