/**
 * Which runs are logged in full.
 */

import { createHash } from 'node:crypto'
import type { Level } from './level.js'

export interface Sampling {
  /** The share of runs, from 0 to 1. */
  rate: number
  /** Levels that are logged in any case. */
  alwaysLog: ReadonlySet<Level>
}

/**
 * Which levels are logged of a run. `key` is what the run belongs to: runs of one key are logged, or not, together, in
 * each process and each execution.
 */
export function sampleOf({ rate, alwaysLog }: Sampling, key: string): (level: Level) => boolean {
  const isIn = rate >= 1 || shareOf(key) < rate
  return (level) => isIn || alwaysLog.has(level)
}

/** A number from 0 to 1, without it, that is the same for the same key, and evenly spread over keys. */
function shareOf(key: string): number {
  return createHash('sha256').update(key).digest().readUInt32BE() / 2 ** 32
}
