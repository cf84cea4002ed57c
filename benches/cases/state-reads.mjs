// Reading the state of one run again and again: shared by the benchmarks with and without the cache.

import { checkState, checkValue } from '../check.mjs'
import { expectedState, makeEvents, runInFlight, stateKey } from '../workload.mjs'

const RUN_EVENTS = 100

/**
 * One key at a time.
 *
 * @param {{ name: string, variants: object[], count: number, inFlight: number, options?: object, target?: number }} what
 *   `options` are those of `get`
 */
export function getKey({ name, variants, count, inFlight, options, target }) {
  const fullName = `${name}, ${inFlight === 1 ? 'one by one' : `${inFlight} in flight`}`
  const expected = expectedState(RUN_EVENTS)
  return {
    name: fullName,
    variants,
    prepare: filledOnce(fullName.replace(/\W+/g, '-'), RUN_EVENTS),
    work: async (_, run) => {
      const values = new Array(count)
      await runInFlight(count, inFlight, async (i) => {
        values[i] = await run.get(stateKey(i), options)
      })
      return values
    },
    check: async (_subject, _run, values) => {
      for (const [i, value] of values.entries()) checkValue(stateKey(i), value, expected[stateKey(i)])
    },
    metrics: [{ name: fullName, unit: 'µs', better: 'lower', value: (ms) => (ms / count) * 1000, target }],
  }
}

/**
 * All keys at once.
 *
 * @param {{ name: string, variants: object[], runEvents: number, target?: number }} what
 */
export function getAll({ name, variants, runEvents, target }) {
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
    metrics: [{ name, unit: 'ms', better: 'lower', value: (ms) => ms / reads, target }],
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
