/**
 * The streams of the runs that somebody asks about.
 */

import type { EventStore } from '../event-store.js'
import { toMs } from '../time.js'
import type { LogFilter } from './filter.js'

/** How many places of an index are read in one go. */
const PAGE = 1000

/** Gives the runs of a chain, oldest first. */
type Chain = (correlationId: string) => Promise<ReadonlyArray<{ runId: string; flowName: string }>>

/** Finds streams of runs, in bounded memory. */
export class RunStreams {
  readonly #store: EventStore
  readonly #prefix: string
  readonly #chain: Chain

  constructor(store: EventStore, prefix: string, chain: Chain) {
    this.#store = store
    this.#prefix = prefix
    this.#chain = chain
  }

  /** The streams in which lines may be that fit. */
  async *of({ runId, flowName, correlationId, startTime }: LogFilter): AsyncGenerator<string> {
    if (runId !== undefined) yield this.#stream(runId)
    else if (correlationId !== undefined) yield* this.#ofChain(correlationId, flowName)
    else if (flowName !== undefined) yield* this.#ofFlow(flowName)
    else yield* this.#all(startTime === undefined ? 0 : toMs(startTime, 'startTime'))
  }

  #stream(runId: string): string {
    return `${this.#prefix}:flow:${runId}`
  }

  async *#ofChain(correlationId: string, flowName: string | undefined): AsyncGenerator<string> {
    for (const run of await this.#chain(correlationId)) {
      if (flowName === undefined || run.flowName === flowName) yield this.#stream(run.runId)
    }
  }

  async *#all(startMs: number): AsyncGenerator<string> {
    // Characters that a pattern gives a meaning stand for themselves.
    const pattern = `${this.#prefix.replace(/[\\*?[\]^-]/g, '\\$&')}:flow:*`
    for await (const { stream, lastId } of this.#store.streams(pattern)) {
      if (Number(lastId.split('-')[0]) >= startMs) yield stream
    }
  }

  /** Those in a flow's index, newest first. */
  async *#ofFlow(flowName: string): AsyncGenerator<string> {
    const key = `${this.#prefix}:flows:${flowName}`
    let offset = 0
    let last: Place | undefined
    for (;;) {
      const page = await this.#store.indexRead(key, { offset, limit: PAGE })
      // Places that were removed meanwhile move those behind them up: then some were passed over.
      const [first] = page
      if (last !== undefined && offset > 0 && (first === undefined || isBehind(first, last))) {
        offset = Math.max(0, offset - PAGE)
        continue
      }
      for (const place of page) {
        if (last !== undefined && !isBehind(place, last)) continue
        last = place
        yield this.#stream(place.id)
      }
      if (page.length < PAGE) return
      // The last one once more, to see whether any moved up.
      offset += PAGE - 1
    }
  }
}

interface Place {
  id: string
  score: number
}

/** Whether a place of an index is behind another: later scores first, of equal ones later ids first. */
function isBehind(place: Place, other: Place): boolean {
  if (place.score !== other.score) return place.score < other.score
  // By bytes, as backends have it.
  return Buffer.compare(Buffer.from(place.id), Buffer.from(other.id)) < 0
}
