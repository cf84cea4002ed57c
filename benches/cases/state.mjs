// State of a run without the help of the cache, and folding events that the caller holds.

import { checkState } from '../check.mjs'
import {
  coreOnMemory,
  coreOnRedis,
  coreReducer,
  loopByHand,
  originalOnMemory,
  originalStateOnRedis,
} from '../subjects.mjs'
import { expectedState, makeEvents } from '../workload.mjs'
import { getKey } from './state-reads.mjs'

/** @param {{ redis: { port: number }, scale: number }} context */
export function stateBenchmarks({ redis: { port }, scale }) {
  const onMemory = [originalOnMemory(), coreOnMemory()]
  const strong = {
    name: 'strong state.get, Redis',
    variants: [originalStateOnRedis(port), coreOnRedis(port)],
    options: { consistency: 'strong' },
  }
  return [
    getKey({ name: 'state.get, memory', variants: onMemory, count: 20_000 * scale, inFlight: 1 }),
    getKey({ ...strong, count: 500 * scale, inFlight: 1 }),
    getKey({ ...strong, count: 2_000 * scale, inFlight: 64 }),
    reduce({ variants: [loopByHand(), coreReducer()], count: 10_000, folds: 20 }),
  ]
}

function reduce({ variants, count, folds }) {
  const name = `reduceState, ${count.toLocaleString('en-US')} events handed in`
  const events = makeEvents(count, 'reduce-run')
  return {
    name,
    variants,
    work: (subject) => Array.from({ length: folds }, () => subject.reduce(events)),
    check: async (_subject, _prepared, states) => {
      for (const state of states) checkState(state, expectedState(count))
    },
    metrics: [{ name, unit: 'ms', better: 'lower', value: (ms) => ms / folds, target: 1 }],
  }
}
