/**
 * Checks queries, and hands them on as the native side reads them.
 */

import type { GlobalQuery, Query, ReadOptions } from '../index.js'
import { NuxtQueueError, shown } from './errors.js'
import { toId, toMs } from './time.js'

const COMMON = ['types', 'startTime', 'endTime', 'after', 'before', 'limit', 'order', 'consistency']

/** A query of one stream as JSON. `withTs`: records tell what their writers noted as their time, where that is kept. */
export function packQuery(query: Query, withTs?: true): string {
  checkMembers(query, ['stream', ...COMMON])
  return pack({ stream: checkName(query.stream, 'stream'), withTs }, query, query.limit)
}

/** A query of many streams as JSON. With a filter in JavaScript the limit is counted there. */
export function packGlobalQuery(query: GlobalQuery): string {
  checkMembers(query, ['pattern', 'filter', ...COMMON])
  if (query.filter !== undefined && typeof query.filter !== 'function')
    throw invalid('filter', query.filter, 'a function')
  const limit = checkLimit(query.limit)
  return pack({ pattern: checkName(query.pattern, 'pattern') }, query, query.filter ? undefined : limit)
}

/** Whether many streams are asked for. */
export function isGlobal(query: Query | GlobalQuery): query is GlobalQuery {
  return typeof query === 'object' && query !== null && 'pattern' in query
}

/** A name or a pattern, or an error. */
export function checkName(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalid(name, value, 'a string')
  if (!value.isWellFormed()) throw invalid(name, value, 'well-formed Unicode')
  return value
}

/** An object, or an error. */
export function checkObject<O extends object>(value: O, name: string): O {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(name, value, 'an object')
  return value
}

/** Options whose members are all known, or an error. */
export function checkOptions<O extends object>(options: O, known: string[]): O {
  if (typeof options !== 'object' || options === null) throw invalid('The options', options, 'an object')
  for (const name in options) {
    if (!known.includes(name)) {
      throw new NuxtQueueError('NQ_VALIDATION', `There is no option ${shown(name)}; known are ${known.join(', ')}.`)
    }
  }
  return options
}

/** An object whose members are all known, or an error. */
export function checkKnown<O extends object>(value: O, name: string, known: string[]): O {
  for (const member in checkObject(value, name)) {
    if (!known.includes(member)) {
      const message = `${name} has no member ${shown(member)}; known are ${known.join(', ')}.`
      throw new NuxtQueueError('NQ_VALIDATION', message)
    }
  }
  return value
}

/** Whether a read of state is to be strong, or an error. */
export function isStrong(options: ReadOptions | undefined): boolean {
  if (options === undefined) return false
  return checkConsistency(checkOptions(options, ['consistency']).consistency) === 'strong'
}

/** `'cached'`, `'strong'` or `undefined`, or an error. */
function checkConsistency<C>(consistency: C): C {
  if (consistency !== undefined && consistency !== 'cached' && consistency !== 'strong') {
    throw invalid('consistency', consistency, "'cached' or 'strong'")
  }
  return consistency
}

/** A number of things that are wanted: a positive whole number, or `undefined`. */
export function checkLimit(limit: number | undefined): number | undefined {
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0))
    throw invalid('limit', limit, 'a positive whole number')
  return limit
}

/** An `NQ_VALIDATION` error about an argument. */
export function invalid(name: string, value: unknown, expected: string): NuxtQueueError {
  return new NuxtQueueError('NQ_VALIDATION', `${name} is ${shown(value)}; expected ${expected}.`)
}

function pack(target: object, query: Omit<Query, 'stream'>, limit: number | undefined): string {
  const { types, startTime, endTime, after, before, order, consistency } = query
  if (types !== undefined && !Array.isArray(types)) throw invalid('types', types, 'an array of event types')
  if (order !== undefined && order !== 'asc' && order !== 'desc') throw invalid('order', order, "'asc' or 'desc'")
  const strong = checkConsistency(consistency) === 'strong' || undefined
  return JSON.stringify({
    ...target,
    types: types?.map((type) => checkName(type, 'types')),
    startMs: startTime === undefined ? undefined : toMs(startTime, 'startTime'),
    endMs: endTime === undefined ? undefined : toMs(endTime, 'endTime'),
    after: after === undefined ? undefined : toId(after, 'after'),
    before: before === undefined ? undefined : toId(before, 'before'),
    limit: checkLimit(limit),
    descending: order === 'desc',
    strong,
  })
}

function checkMembers(query: object, known: string[]): void {
  if (typeof query !== 'object' || query === null) throw invalid('The query', query, 'an object')
  for (const name in query) {
    if (!known.includes(name)) {
      throw new NuxtQueueError('NQ_VALIDATION', `A query has no member ${shown(name)}; known are ${known.join(', ')}.`)
    }
  }
}
