// The next instants of schedules, beside what one would compute them with otherwise, in Rust and in JavaScript.

import { isDeepStrictEqual } from 'node:util'
import { buildInstants } from '../instants.mjs'
import {
  ahead,
  coreInRust,
  coreNext,
  corePreview,
  cronCrate,
  cronerAhead,
  cronerAnew,
  cronerKept,
} from '../schedules.mjs'

export function scheduleBenchmarks() {
  return [
    inRust('schedule, next instant, in Rust', 0),
    inRust('schedule, read and next instant, in Rust', 1),
    inRust(`schedule, each of ${ahead} instants ahead, in Rust`, 2),
    instants('schedule, next instant', [cronerKept(), cronerAnew(), coreNext()]),
    instants(`schedule, each of ${ahead} instants ahead`, [cronerAhead(), corePreview()]),
  ]
}

function inRust(name, kind) {
  return { ...instants(name, [cronCrate(kind), coreInRust(kind)]), setUp: buildInstants }
}

function instants(name, variants) {
  let first
  return {
    name,
    variants,
    work: (subject) => subject.compute(),
    // They are asked for the same each time, and all of them have to agree.
    check: async (_subject, _prepared, outcome) => {
      first ??= outcome.instants
      if (!isDeepStrictEqual(outcome.instants, first)) throw new Error(disagreement(first, outcome.instants))
    },
    metrics: [{ name, unit: 'ns', better: 'lower', value: (_, { ns }) => ns, target: 1 }],
  }
}

function disagreement(expected, found) {
  const index = expected.findIndex((ms, i) => ms !== found[i])
  const text = (ms) => (ms === undefined ? 'nothing' : new Date(ms).toISOString())
  return `instant ${index} of ${expected.length} is ${text(found[index])}; the first variant found ${text(expected[index])}`
}
