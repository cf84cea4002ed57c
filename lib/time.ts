/**
 * Instants, event ids and points as callers give them.
 */

import type { Point, Time } from '../index.js'
import { NuxtQueueError, shown } from './errors.js'

const EVENT_ID = /^\d{1,20}-\d{1,20}$/
const YEAR_MONTH = /^\d{4}-\d{2}$/
/** ISO 8601 as RFC 3339 narrows it: a date alone (UTC), or a date and a time with `Z` or an offset. */
const ISO = /^(\d{4})-(\d{2})(?:-(\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(Z|[+-]\d{2}:\d{2})?)?)?$/i

/** Milliseconds since the Unix epoch. */
export function toMs(time: Time, name: string): number {
  const ms = typeof time === 'string' ? parseIso(time, name) : time instanceof Date ? time.getTime() : time
  if (typeof ms === 'number' && Number.isFinite(ms)) return ms
  const given = time instanceof Date ? 'an invalid Date' : shown(time)
  throw new NuxtQueueError(
    'NQ_VALIDATION',
    `${name} is ${given}; expected a Date, milliseconds, or an ISO 8601 string such as "2025-11-05T10:00:03Z".`,
  )
}

function parseIso(text: string, name: string): number {
  const [, year, month, day = '01', zone] = ISO.exec(text) ?? []
  if (year === undefined || month === undefined) return Number.NaN
  if (text.includes('T') && zone === undefined) {
    throw new NuxtQueueError(
      'NQ_VALIDATION',
      `${name} is ${shown(text)}, which has no time zone; add "Z" or an offset.`,
    )
  }
  // Date.parse moves the 31st of a shorter month into the next one.
  const daysInMonth = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  return Number(day) > daysInMonth ? Number.NaN : Date.parse(text)
}

/** An event id, or an error. */
export function toId(id: unknown, name: string): string {
  if (typeof id === 'string' && EVENT_ID.test(id)) return id
  throw new NuxtQueueError('NQ_VALIDATION', `${name} is ${shown(id)}; expected an event id such as "1762336800000-0".`)
}

/** A point in the form that the native side reads. */
export interface NativePoint {
  ms?: number
  id?: string
}

/** Reads a point: an instant or an event. */
export function toPoint(point: Point, name: string): NativePoint {
  if (typeof point === 'string') {
    return EVENT_ID.test(point) && !YEAR_MONTH.test(point) ? { id: point } : { ms: toMs(point, name) }
  }
  if (typeof point === 'object' && point !== null && !(point instanceof Date))
    return { id: toId(point.id, `${name}.id`) }
  return { ms: toMs(point, name) }
}

let lastMs = Number.NaN
let lastText = ''

/** The instant in an event id as ISO 8601. Events of one tick share it, so the last one is remembered. */
export function timestampOf(id: string): string {
  const ms = Number.parseInt(id, 10)
  if (ms !== lastMs) {
    // The year 9999 ends there; later ids are shown as that.
    lastText = new Date(Math.min(ms, 253402300799999)).toISOString()
    lastMs = ms
  }
  return lastText
}
