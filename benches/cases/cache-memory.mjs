// What a cached run costs in memory, in a process of its own: there nothing else moves the figure.

import { startChild } from '../child.mjs'
import { copyStream, unlinkAll } from '../copies.mjs'
import { CORE } from '../subjects.mjs'
import { makeEvents } from '../workload.mjs'

const RUNS = 10_000
const RUN_EVENTS = 20
const PREFIX = 'memory-'
const MEGABYTE = 1e6

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis } }} context */
export function cacheMemoryBenchmarks({ redis: { port, inspector } }) {
  const name = `memory of 10,000 cached runs of ${RUN_EVENTS} events`
  const streams = Array.from({ length: RUNS }, (_, i) => `nq:flow:${PREFIX}${i}`)
  return [
    {
      name,
      needsCore: true,
      rounds: 7,
      warmUps: 0,
      variants: [{ name: CORE, core: true, open: async () => ({ close: async () => {} }) }],
      setUp: () => copyStream({ port, inspector }, makeEvents(RUN_EVENTS, 'memory'), streams),
      work: () => measureInChild(port),
      check: async (_subject, _prepared, { afterState, afterQuery }) => {
        for (const { cachedRuns } of [afterState, afterQuery]) {
          if (cachedRuns < RUNS) throw new Error(`${cachedRuns} runs are cached, expected ${RUNS}`)
        }
      },
      metrics: [
        megabytes(`${name}: state`, ({ afterState }) => afterState.grown),
        megabytes(`${name}: state and events`, ({ afterQuery }) => afterQuery.grown),
      ],
      tearDown: () => unlinkAll(inspector, `nq:flow:${PREFIX}*`),
    },
  ]
}

async function measureInChild(port) {
  const child = await startChild('memory-probe.mjs', [port, PREFIX, RUNS])
  await child.end()
  return child.first
}

function megabytes(name, bytes) {
  return {
    name,
    unit: 'MB',
    better: 'lower',
    value: (_, outcome) => bytes(outcome) / MEGABYTE,
    below: 60,
    coreOnly: true,
  }
}
