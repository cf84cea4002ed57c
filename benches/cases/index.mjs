import { appendBenchmarks } from './append.mjs'
import { queryBenchmarks } from './query.mjs'
import { stateBenchmarks } from './state.mjs'
import { subscribeBenchmarks } from './subscribe.mjs'

/**
 * Every benchmark, in the order of the table.
 *
 * @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context
 *   `scale` shrinks the number of events; 1 is the full size
 */
export function allBenchmarks(context) {
  return [appendBenchmarks, queryBenchmarks, stateBenchmarks, subscribeBenchmarks].flatMap((group) => group(context))
}
