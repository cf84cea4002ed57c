// Measures the variants of a benchmark in turn (A B C A B C …), so that what the neighbours on the
// machine do hits all of them alike.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { waitForCalm } from './calm.mjs'
import { median, quantile } from './statistics.mjs'

setFlagsFromString('--expose-gc')
const ROUND_LIMIT_MS = 60_000

const collectGarbage = runInNewContext('gc')

/**
 * @typedef {object} Benchmark
 * @property {string} name unique; `--only` looks in here
 * @property {Variant[]} variants the first is the baseline
 * @property {boolean} [needsCore] it can't even be set up without nuxt-queue-core
 * @property {number} [rounds] at most so many, when one takes seconds
 * @property {number} [warmUps] likewise
 * @property {() => Promise<void>} [setUp] once before everything, for as long as it takes
 * @property {() => Promise<void>} [tearDown] once after everything
 * @property {(subject: any, round: number) => Promise<any>} [prepare] before each round, not timed
 * @property {(subject: any, prepared: any) => any} work timed
 * @property {(subject: any, prepared: any, outcome: any) => Promise<void>} check throws when the result is wrong; not timed
 * @property {Metric[]} metrics
 *
 * @typedef {object} Variant
 * @property {string} name
 * @property {boolean} [core] whether it is nuxt-queue-core
 * @property {() => Promise<any>} open gives the subject, which has `close()`
 *
 * @typedef {object} Metric
 * @property {string} name its row in the table
 * @property {string} unit
 * @property {'higher' | 'lower'} better
 * @property {(ms: number, outcome: any) => number} value
 * @property {number} [target] at least this many times as good as the baseline
 * @property {number} [below] the value itself must stay under this
 * @property {boolean} [coreOnly] there is nothing to compare with: only nuxt-queue-core has such a figure
 */

/**
 * @param {Benchmark} benchmark
 * @param {{ rounds: number, warmUps: number, calm: boolean }} plan
 * @returns {Promise<object[]>} one result per metric; after a failure subjects stay open, the process is to end
 */
export async function measure(benchmark, { rounds, warmUps, calm }) {
  const opened = []
  await benchmark.setUp?.()
  for (const variant of benchmark.variants) {
    opened.push({ variant, subject: await variant.open(), samples: benchmark.metrics.map(() => []) })
  }
  const last = Math.min(rounds, benchmark.rounds ?? rounds)
  for (let round = -Math.min(warmUps, benchmark.warmUps ?? warmUps); round < last; round++) {
    for (const entry of opened) {
      if (calm) await waitForCalm()
      await measureOnce(benchmark, entry, round)
    }
  }
  await Promise.all(opened.map(({ subject }) => subject.close()))
  await benchmark.tearDown?.()
  return benchmark.metrics.map((metric, i) => summarize(metric, opened, i))
}

async function measureOnce(benchmark, { variant, subject, samples }, round) {
  try {
    const { ms, outcome } = await withinLimit(measureRound(benchmark, subject, round))
    if (round < 0) return
    for (const [i, metric] of benchmark.metrics.entries()) samples[i].push(metric.value(ms, outcome))
  } catch (cause) {
    throw new Error(`${benchmark.name}: ${variant.name}: ${cause.message}`, { cause })
  }
}

async function measureRound({ prepare, work, check }, subject, round) {
  const prepared = await prepare?.(subject, round)
  collectGarbage()
  const start = performance.now()
  const outcome = await work(subject, prepared)
  const ms = performance.now() - start
  await check(subject, prepared, outcome)
  return { ms, outcome }
}

/** A promise that is never settled must not hang the run. */
async function withinLimit(promise) {
  let timer
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${ROUND_LIMIT_MS / 1000} s`)), ROUND_LIMIT_MS)
  })
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
  }
}

function summarize(metric, opened, index) {
  const measured = opened.filter(({ variant }) => variant.core || !metric.coreOnly)
  const baseline = metric.coreOnly ? undefined : measured[0].samples[index]
  const variants = measured.map(({ variant, samples }) => ({
    name: variant.name,
    core: variant.core === true,
    median: median(samples[index]),
    ...(baseline && compare(metric, samples[index], baseline)),
    samples: samples[index],
  }))
  return { name: metric.name, unit: metric.unit, target: metric.target, below: metric.below, variants }
}

function compare(metric, values, baseline) {
  const ratios = values.map((value, round) => timesAsGood(metric, value, baseline[round]))
  return { ratio: median(ratios), spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)] }
}

function timesAsGood({ better }, value, baseline) {
  return better === 'higher' ? value / baseline : baseline / value
}
