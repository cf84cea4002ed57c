// State of a run: one key, all keys, and folding events that the caller holds.

import { checkState, checkValue } from '../check.mjs'
import {
  coreOnMemory,
  coreOnRedis,
  coreReducer,
  foldedOnRedis,
  loopByHand,
  originalOnMemory,
  originalStateOnRedis,
} from '../subjects.mjs'
import { expectedState, makeEvents, runInFlight, stateKey } from '../workload.mjs'

const RUN_EVENTS = 100

/** @param {{ redis: { port: number }, scale: number }} context */
export function stateBenchmarks({ redis: { port }, scale }) {
  const onMemory = [originalOnMemory(), coreOnMemory()]
  const onRedis = [originalStateOnRedis(port), coreOnRedis(port)]
  return [
    getKey({ backend: 'memory', variants: onMemory, count: 20_000 * scale, inFlight: 1 }),
    getKey({ backend: 'Redis', variants: onRedis, count: 500 * scale, inFlight: 1 }),
    getKey({ backend: 'Redis', variants: onRedis, count: 2_000 * scale, inFlight: 64 }),
    getAll({ variants: [originalStateOnRedis(port), foldedOnRedis(port), coreOnRedis(port)], runEvents: 1_000 }),
    reduce({ variants: [loopByHand(), coreReducer()], count: 10_000, folds: 20 }),
  ]
}

function getKey({ backend, variants, count, inFlight }) {
  const name = `state.get, ${backend}, ${inFlight === 1 ? 'one by one' : `${inFlight} in flight`}`
  const expected = expectedState(RUN_EVENTS)
  return {
    name,
    variants,
    prepare: filledOnce(`get-${inFlight}`, RUN_EVENTS),
    work: async (_, run) => {
      const values = new Array(count)
      await runInFlight(count, inFlight, async (i) => {
        values[i] = await run.get(stateKey(i))
      })
      return values
    },
    check: async (_subject, _run, values) => {
      for (const [i, value] of values.entries()) checkValue(stateKey(i), value, expected[stateKey(i)])
    },
    metrics: [{ name, unit: 'µs', better: 'lower', value: (ms) => (ms / count) * 1000 }],
  }
}

function getAll({ variants, runEvents }) {
  const name = `state.getAll, Redis, run of ${runEvents.toLocaleString('en-US')} state events`
  const reads = 10
  return {
    name,
    variants,
    prepare: filledOnce('get-all', runEvents),
    work: async (_, run) => {
      const states = []
      for (let i = 0; i < reads; i++) states.push(await run.getAll())
      return states
    },
    check: async (_subject, _run, states) => {
      for (const state of states) checkState(state, expectedState(runEvents))
    },
    metrics: [{ name, unit: 'ms', better: 'lower', value: (ms) => ms / reads }],
  }
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

/** Sets the keys of a run as its events would have, once for each subject. */
function filledOnce(runName, runEvents) {
  const runs = new Map()
  return async (subject) => {
    if (!runs.has(subject)) {
      const run = subject.run(`${runName}-${runs.size}`)
      for (const { data } of makeEvents(runEvents, runName)) await run.set(data.key, data.value)
      runs.set(subject, run)
    }
    return runs.get(subject)
  }
}
