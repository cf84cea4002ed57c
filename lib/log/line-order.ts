/**
 * Lines of many runs in the order of time, of which only the first so many are kept.
 */

import type { LogEntry } from '../../index.js'

/** A line, and where it stands. */
export interface Line {
  id: string
  stream: string
  entry: LogEntry
}

interface Placed {
  ms: number
  seq: number
  stream: string
  entry: LogEntry
}

/** Keeps the first `limit` lines; in between up to twice as many. */
export class LineOrder {
  readonly #limit: number
  readonly #sign: 1 | -1
  readonly #lines: Placed[] = []
  /** The last of those that are kept for sure, once there are enough. */
  #last: Placed | undefined

  constructor({ limit, order }: { limit: number; order: 'asc' | 'desc' }) {
    this.#limit = limit
    this.#sign = order === 'asc' ? 1 : -1
  }

  /** False: there are enough lines before this one. */
  add({ id, stream, entry }: Line): boolean {
    const [ms, seq] = id.split('-').map(Number) as [number, number]
    const line = { ms, seq, stream, entry }
    if (this.#last !== undefined && this.#compare(line, this.#last) > 0) return false
    if (this.#lines.push(line) >= 2 * this.#limit) this.#cut()
    return true
  }

  entries(): LogEntry[] {
    this.#cut()
    return this.#lines.map(({ entry }) => entry)
  }

  #cut(): void {
    this.#lines.sort((a, b) => this.#compare(a, b))
    if (this.#lines.length < this.#limit) return
    this.#lines.length = this.#limit
    this.#last = this.#lines.at(-1)
  }

  /** By time; what is of one millisecond by run, and in a run as it stands there. */
  #compare(a: Placed, b: Placed): number {
    const byStream = a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0
    return this.#sign * (a.ms - b.ms || byStream || a.seq - b.seq)
  }
}
