import { appendBenchmarks } from './append.mjs'
import { awaitBenchmarks } from './await.mjs'
import { cacheBenchmarks } from './cache.mjs'
import { cacheMemoryBenchmarks } from './cache-memory.mjs'
import { firingBenchmarks } from './firing.mjs'
import { flowBenchmarks } from './flow.mjs'
import { logBenchmarks } from './log.mjs'
import { longRunBenchmarks } from './long-run.mjs'
import { mixBenchmarks } from './mix.mjs'
import { queryBenchmarks } from './query.mjs'
import { scheduleBenchmarks } from './schedule.mjs'
import { stateBenchmarks } from './state.mjs'
import { subscribeBenchmarks } from './subscribe.mjs'
import { webhookBenchmarks } from './webhook.mjs'

// The longest runs fill the server, so they come last but for the table's order.
const GROUPS = [
  appendBenchmarks,
  queryBenchmarks,
  stateBenchmarks,
  subscribeBenchmarks,
  cacheBenchmarks,
  mixBenchmarks,
  cacheMemoryBenchmarks,
  flowBenchmarks,
  awaitBenchmarks,
  webhookBenchmarks,
  scheduleBenchmarks,
  firingBenchmarks,
  logBenchmarks,
  longRunBenchmarks,
]

/**
 * Every benchmark, in the order of the table.
 *
 * @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context
 *   `scale` shrinks the number of events; 1 is the full size
 */
export function allBenchmarks(context) {
  return GROUPS.flatMap((group) => group(context))
}
