/**
 * The events of a run, and of the runs of a chain in the order of time.
 */

import type { RunStatus, TimelineOptions, TimelinePart, UntypedRecord } from '../index.js'
import type { EventStore } from './event-store.js'
import { checkOptions, invalid } from './query.js'

const PARTS: Record<TimelinePart, string[]> = {
  steps: ['flow.*', 'step.*', 'emit'],
  state: ['state', 'state.*'],
  logs: ['log', 'log.*'],
  triggers: ['trigger.*'],
}

/** The types of the events that are wanted; `undefined`: all. */
export function typesOf(options: TimelineOptions): string[] | undefined {
  const { include } = checkOptions(options, ['include'])
  if (include === undefined) return undefined
  if (!Array.isArray(include)) throw invalid('include', include, `an array of ${Object.keys(PARTS).join(', ')}`)
  return include.flatMap((part) => {
    if (Object.hasOwn(PARTS, part)) return PARTS[part]
    throw invalid('include', part, `one of ${Object.keys(PARTS).join(', ')}`)
  })
}

/** The events of runs in the order of time. `runs`: in that of their beginning. */
export async function* merge(
  store: EventStore,
  runs: ReadonlyArray<Pick<RunStatus, 'startedAt'> & { stream: string }>,
  types: string[] | undefined,
): AsyncGenerator<UntypedRecord, void, undefined> {
  const waiting = [...runs]
  const open: Cursor[] = []
  try {
    for (;;) {
      let first = firstOf(open)
      // A run is read from its beginning on, and no earlier: only those that go on at a time are held.
      while (waiting[0] !== undefined && (first === undefined || Date.parse(waiting[0].startedAt) <= first.ms)) {
        const { stream } = waiting.shift() as { stream: string }
        const cursor = new Cursor(store.iterate({ stream, ...(types && { types }) }))
        if (await cursor.next()) open.push(cursor)
        first = firstOf(open)
      }
      if (first === undefined) return
      yield first.record
      if (!(await first.next())) open.splice(open.indexOf(first), 1)
    }
  } finally {
    await Promise.all(open.map((cursor) => cursor.close()))
  }
}

/** The one whose next event is the earliest; of one millisecond that of the run that began first. */
function firstOf(open: readonly Cursor[]): Cursor | undefined {
  let first: Cursor | undefined
  for (const cursor of open) if (first === undefined || cursor.ms < first.ms) first = cursor
  return first
}

/** A place in a stream. */
class Cursor {
  record!: UntypedRecord
  ms = 0
  readonly #records: AsyncGenerator<UntypedRecord>

  constructor(records: AsyncGenerator<UntypedRecord>) {
    this.#records = records
  }

  /** False at the end. */
  async next(): Promise<boolean> {
    const { done, value } = await this.#records.next()
    if (done) return false
    this.record = value
    this.ms = Number.parseInt(value.id, 10)
    return true
  }

  async close(): Promise<void> {
    await this.#records.return(undefined)
  }
}
