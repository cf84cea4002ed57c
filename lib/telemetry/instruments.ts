/**
 * What is measured. Names and units as OpenTelemetry has them:
 * https://opentelemetry.io/docs/specs/semconv/general/naming/.
 */

import type { Meter } from '@opentelemetry/api'
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

/** Measures a core, until `stop` is called. */
export function createInstruments(meter: Meter, stats: () => StoreStats) {
  const counters = COUNTERS.map(([name, stat, unit, description]) => {
    return { stat, instrument: meter.createObservableCounter(name, { unit, description }) }
  })
  const gauges = GAUGES.map(([name, stat, unit, description]) => {
    return { stat, instrument: meter.createObservableUpDownCounter(name, { unit, description }) }
  })
  const observed = [...counters, ...gauges]
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    const now = stats()
    for (const { stat, instrument } of observed) result.observe(instrument, now[stat])
  }
  const instruments = observed.map(({ instrument }) => instrument)
  meter.addBatchObservableCallback(observe, instruments)
  const duration = (what: string, description: string) =>
    meter.createHistogram(`nuxt_queue.${what}.duration`, {
      ...{ unit: 's', description },
      advice: { explicitBucketBoundaries: BOUNDARIES },
    })
  return {
    runsStarted: meter.createCounter('nuxt_queue.run.started', {
      unit: '{run}',
      description: 'Runs that were started by call.',
    }),
    runDuration: duration('run', 'Runs, from their start to their end.'),
    stepDuration: duration('step', 'Executions of steps.'),
    firings: meter.createCounter('nuxt_queue.trigger.firings', {
      unit: '{firing}',
      description: 'Firings of triggers.',
    }),
    awaitsOpened: meter.createCounter('nuxt_queue.await.opened', {
      unit: '{await}',
      description: 'Awaits that were begun.',
    }),
    awaitsEnded: meter.createCounter('nuxt_queue.await.ended', {
      unit: '{await}',
      description: 'Awaits after which a step went on.',
    }),
    stop: () => meter.removeBatchObservableCallback(observe, instruments),
  }
}

export type Instruments = ReturnType<typeof createInstruments>
