// What a step costs: from its hand-over to the event that says that it is completed.

import {
  coreFlows,
  coreFlowsInMemory,
  plainBullmq,
  STEPS,
  tracedFlowsInMemory,
  untracedFlowsInMemory,
} from '../flows.mjs'
import { runInFlight } from '../workload.mjs'

/** @param {{ redis: { port: number }, scale: number }} context */
export function flowBenchmarks({ redis: { port }, scale }) {
  const oneByOne = { runs: 500 * scale, inFlight: 1 }
  const onRedis = [plainBullmq(port), coreFlows(port)]
  return [
    steps('step in process, one by one', [coreFlowsInMemory()], { ...oneByOne, coreOnly: true }),
    steps('step in process, 64 runs in flight', [coreFlowsInMemory()], {
      runs: 2_000 * scale,
      inFlight: 64,
      coreOnly: true,
    }),
    // An SDK is there for the whole process, so what is not traced has its own row.
    steps('step in process, OpenTelemetry without an SDK', [untracedFlowsInMemory(), coreFlowsInMemory()], oneByOne),
    steps('step in process, OpenTelemetry with an SDK', [untracedFlowsInMemory(), tracedFlowsInMemory()], oneByOne),
    // At most 1.25 times the time of a plain job.
    steps('step through BullMQ, one by one', onRedis, { runs: 60 * scale, inFlight: 1, target: 0.8 }),
    steps('step through BullMQ, 64 runs in flight', onRedis, { runs: 300 * scale, inFlight: 64, target: 0.8 }),
  ]
}

function steps(name, variants, { runs, inFlight, ...goal }) {
  const count = Math.max(1, Math.round(runs))
  const slug = name.replace(/\W+/g, '-')
  return {
    name,
    needsCore: variants.every(({ core }) => core),
    variants,
    prepare: async (_, round) => Array.from({ length: count }, (_, i) => `bench-${slug}-${round}-${i}`),
    work: async (subject, ids) => {
      await runInFlight(count, inFlight, (i) => subject.run(ids[i], i))
      await subject.settle(ids)
    },
    check: async (subject, ids) => {
      await subject.check(ids)
      await subject.forget(ids)
    },
    metrics: [{ name, unit: 'µs', better: 'lower', value: (ms) => (ms * 1000) / (count * STEPS), ...goal }],
  }
}
