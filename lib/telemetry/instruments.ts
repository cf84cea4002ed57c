/**
 * What is measured. Names and units as OpenTelemetry has them:
 * https://opentelemetry.io/docs/specs/semconv/general/naming/.
 */

import type { BatchObservableCallback, Meter } from '@opentelemetry/api'
import type { StoreStats } from '../../index.js'

type Stat = keyof StoreStats

/** What only grows. */
const COUNTERS: Array<[name: string, stat: Stat, unit: string, description: string]> = [
  ['nuxt_queue.store.appended', 'appended', '{event}', 'Events that were stored.'],
  ['nuxt_queue.store.read', 'eventsRead', '{event}', 'Events that were read from the backend.'],
  ['nuxt_queue.store.pipelines', 'pipelines', '{pipeline}', 'Groups of appends that were sent to the backend.'],
  ['nuxt_queue.store.snapshots', 'snapshots', '{snapshot}', 'Snapshots that were written.'],
  ['nuxt_queue.store.trimmed', 'trimmed', '{event}', 'Events that were deleted to keep streams within bounds.'],
  ['nuxt_queue.cache.hits', 'hits', '{read}', 'Reads that were answered from a run in memory.'],
  ['nuxt_queue.cache.misses', 'misses', '{read}', 'Reads for which a run had to be read.'],
  ['nuxt_queue.cache.invalidations', 'invalidations', '{run}', 'How often a run in memory was changed by others.'],
]

/** What there is at the moment. */
const GAUGES: Array<[name: string, stat: Stat, unit: string, description: string]> = [
  ['nuxt_queue.store.queued', 'queuedBytes', 'By', 'Appends that are on their way to the backend.'],
  ['nuxt_queue.cache.runs', 'cachedRuns', '{run}', 'Runs in memory.'],
  ['nuxt_queue.cache.size', 'cachedBytes', 'By', 'What runs in memory take.'],
]

/** For durations in seconds, from a quick step to one that takes an hour. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600]

/** Cores of one process share instruments: of what two of them observed, only the later would count. */
const known = new WeakMap<Meter, Instruments>()

/** What a meter measures by. */
export function instrumentsOf(meter: Meter): Instruments {
  const instruments = known.get(meter) ?? createInstruments(meter)
  known.set(meter, instruments)
  return instruments
}

export type Instruments = ReturnType<typeof createInstruments>

function createInstruments(meter: Meter) {
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(`nuxt_queue.${name}`, { unit, description })
  const seconds = (name: string, description: string) =>
    meter.createHistogram(`nuxt_queue.${name}`, {
      ...{ unit: 's', description },
      advice: { explicitBucketBoundaries: BOUNDARIES },
    })
  return {
    runsStarted: counter('run.started', '{run}', 'Runs that were started by call.'),
    runDuration: seconds('run.duration', 'Runs, from their start to their end.'),
    stepDuration: seconds('step.duration', 'Executions of steps.'),
    stepDelay: seconds('step.delay', 'Attempts at steps, from when they could run until they did.'),
    firings: counter('trigger.firings', '{firing}', 'Firings of triggers.'),
    awaitsOpened: counter('await.opened', '{await}', 'Awaits that were begun.'),
    awaitsEnded: counter('await.ended', '{await}', 'Awaits after which a step went on.'),
    watch: observeStores(meter),
  }
}

/** Observes the stores that it is given, all together; each until what it returns is called. */
function observeStores(meter: Meter): (stats: () => StoreStats) => () => void {
  const counters = COUNTERS.map(([name, stat, unit, description]) => {
    return { stat, instrument: meter.createObservableCounter(name, { unit, description }) }
  })
  const gauges = GAUGES.map(([name, stat, unit, description]) => {
    return { stat, instrument: meter.createObservableUpDownCounter(name, { unit, description }) }
  })
  const open = new Set<() => StoreStats>()
  // A counter must not fall when a store closes.
  const closed = new Map<Stat, number>()
  const observed = [...counters, ...gauges]
  const observe: BatchObservableCallback = (result) => {
    const all = [...open].map((stats) => stats())
    for (const { stat, instrument } of observed) {
      const sum = all.reduce((sum, stats) => sum + stats[stat], closed.get(stat) ?? 0)
      result.observe(instrument, sum)
    }
  }
  const instruments = observed.map(({ instrument }) => instrument)
  meter.addBatchObservableCallback(observe, instruments)
  return (stats) => {
    open.add(stats)
    return () => {
      if (!open.delete(stats)) return
      const last = stats()
      for (const { stat } of counters) closed.set(stat, (closed.get(stat) ?? 0) + last[stat])
    }
  }
}
