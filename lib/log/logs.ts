/**
 * The logs of runs, read back.
 */

import type * as surface from '../../index.js'
import type { EventStore } from '../event-store.js'
import { type LogFilter, readFilter } from './filter.js'
import type { Level } from './level.js'
import { type Line, LineOrder } from './line-order.js'
import type { LogRouter } from './router.js'
import type { RunStreams } from './run-streams.js'

/** Logs of a store's runs; documented in `index.d.ts`. */
export class Logs implements surface.Logs {
  readonly #store: EventStore
  readonly #streams: RunStreams
  readonly #router: LogRouter

  constructor(store: EventStore, streams: RunStreams, router: LogRouter) {
    this.#store = store
    this.#streams = streams
    this.#router = router
  }

  async query(query?: surface.LogQuery): Promise<surface.LogEntry[]> {
    const filter = readFilter(query)
    const kept = new LineOrder(filter)
    for await (const stream of this.#streams.of(filter)) {
      for await (const line of this.#lines(stream, filter)) {
        // A run's lines come in order, so none that follows is wanted either.
        if (!kept.add(line)) break
      }
    }
    return kept.entries()
  }

  iterate(query?: surface.LogQuery): AsyncGenerator<surface.LogEntry, void, undefined> {
    return this.#entries(readFilter(query))
  }

  stats(): surface.LogStats {
    return this.#router.stats()
  }

  async *#entries(filter: LogFilter): AsyncGenerator<surface.LogEntry, void, undefined> {
    let left = filter.limit
    for await (const stream of this.#streams.of(filter)) {
      for await (const { entry } of this.#lines(stream, filter)) {
        yield entry
        if (--left === 0) return
      }
    }
  }

  async *#lines(stream: string, { types, startTime, endTime, order, fits }: LogFilter): AsyncGenerator<Line> {
    for await (const record of this.#store.iterate({ stream, types, startTime, endTime, order })) {
      const entry = toEntry(record)
      if (fits(entry)) yield { id: record.id, stream, entry }
    }
  }
}

/** Entries of the original module have the type `log`, and metadata beside level and message. */
function toEntry({ id, stream, type, data, ...envelope }: surface.UntypedRecord): surface.LogEntry {
  const { level, message, metadata, ...others } = (data ?? {}) as surface.LogData & Record<string, unknown>
  const own = metadata ?? (Object.keys(others).length > 0 ? others : undefined)
  return {
    ...envelope,
    level: (type === 'log' ? level : type.slice('log.'.length)) as Level,
    message,
    ...(own !== undefined && { metadata: own }),
  }
}
