/**
 * The log of a run, read back.
 */

import type * as surface from '../index.js'
import type { EventStore } from './event-store.js'
import { checkLimit, checkName, checkOptions, invalid } from './query.js'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const FILTER = ['runId', 'level', 'stepName', 'instanceId', 'startTime', 'endTime', 'limit', 'order']

type Level = surface.LogEntry['level']

/** Logs of a store's runs; documented in `index.d.ts`. */
export class Logs implements surface.Logs {
  readonly #store: EventStore
  readonly #streamOf: (runId: string) => string

  constructor(store: EventStore, streamOf: (runId: string) => string) {
    this.#store = store
    this.#streamOf = streamOf
  }

  async query(filter: surface.LogQuery): Promise<surface.LogEntry[]> {
    const { runId, stepName, instanceId, startTime, endTime, order } = checkOptions(filter, FILTER)
    const limit = checkLimit(filter.limit) ?? Number.POSITIVE_INFINITY
    const levels = readLevels(filter.level)
    const types = [...levels.map((level) => `log.${level}`), 'log']
    const stream = this.#streamOf(checkName(runId, 'runId'))
    const entries: surface.LogEntry[] = []
    for await (const record of this.#store.iterate({ stream, types, startTime, endTime, order })) {
      const entry = toEntry(record)
      if (!levels.includes(entry.level)) continue
      if (stepName !== undefined && entry.stepName !== stepName) continue
      if (instanceId !== undefined && entry.instanceId !== instanceId) continue
      if (entries.push(entry) === limit) break
    }
    return entries
  }
}

function readLevels(level: surface.LogQuery['level']): readonly Level[] {
  if (level === undefined) return LEVELS
  return [level].flat().map((each) => {
    const known = LEVELS.find((one) => one === each)
    if (known === undefined) throw invalid('level', each, `one of ${LEVELS.join(', ')}, or several of them`)
    return known
  })
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
