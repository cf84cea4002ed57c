/**
 * Which lines are wanted.
 */

import type { LogEntry, LogQuery } from '../../index.js'
import { checkLimit, checkName, checkOptions, invalid } from '../query.js'
import { toMs } from '../time.js'
import { LEVELS, type Level } from './level.js'

const KNOWN = [
  ...['runId', 'flowName', 'correlationId', 'level', 'stepName', 'instanceId', 'attempt', 'contains'],
  ...['startTime', 'endTime', 'limit', 'order'],
]

/** Members of an entry that have to be what the filter says. */
const SAME = ['correlationId', 'stepName', 'instanceId', 'attempt'] as const

/** A filter that was checked. */
export interface LogFilter {
  runId: string | undefined
  flowName: string | undefined
  correlationId: string | undefined
  /** The types of the events that may be lines that fit. */
  types: string[]
  startTime: LogQuery['startTime']
  endTime: LogQuery['endTime']
  limit: number
  order: 'asc' | 'desc'
  fits(entry: LogEntry): boolean
}

/** Reads a filter, or throws `NQ_VALIDATION`. */
export function readFilter(query: LogQuery = {}): LogFilter {
  const { runId, flowName, correlationId, startTime, endTime, order = 'asc' } = checkOptions(query, KNOWN)
  for (const name of ['runId', 'flowName', 'correlationId', 'stepName', 'instanceId'] as const) {
    if (query[name] !== undefined) checkName(query[name], name)
  }
  if (order !== 'asc' && order !== 'desc') throw invalid('order', order, "'asc' or 'desc'")
  if (query.attempt !== undefined) checkAttempt(query.attempt)
  if (startTime !== undefined) toMs(startTime, 'startTime')
  if (endTime !== undefined) toMs(endTime, 'endTime')
  const levels = readLevels(query.level)
  const contains = query.contains === undefined ? undefined : searchFor(query.contains)
  const same = SAME.filter((name) => query[name] !== undefined)
  return {
    ...{ runId, flowName, correlationId, startTime, endTime, order },
    // The original module has one type for all levels.
    types: [...levels.map((level) => `log.${level}`), 'log'],
    limit: checkLimit(query.limit) ?? Number.POSITIVE_INFINITY,
    fits: (entry) =>
      levels.includes(entry.level) &&
      same.every((name) => entry[name] === query[name]) &&
      (contains === undefined || contains(entry)),
  }
}

function readLevels(level: LogQuery['level']): readonly Level[] {
  if (level === undefined) return LEVELS
  return [level].flat().map((each) => {
    const known = LEVELS.find((one) => one === each)
    if (known === undefined) throw invalid('level', each, `one of ${LEVELS.join(', ')}, or several of them`)
    return known
  })
}

function checkAttempt(attempt: unknown): void {
  if (!Number.isSafeInteger(attempt) || (attempt as number) < 0) {
    throw invalid('attempt', attempt, 'a whole number from 0 on')
  }
}

/** Whether a text stands in the message or the metadata of an entry, in upper or lower case. */
function searchFor(text: unknown): (entry: LogEntry) => boolean {
  if (typeof text !== 'string' || text === '') throw invalid('contains', text, 'a text that is not empty')
  const wanted = text.toLowerCase()
  // As it is written in JSON, where quotes and line breaks are escaped.
  const escaped = JSON.stringify(wanted).slice(1, -1)
  return ({ message, metadata }) =>
    String(message).toLowerCase().includes(wanted) ||
    (metadata !== undefined && JSON.stringify(metadata).toLowerCase().includes(escaped))
}
