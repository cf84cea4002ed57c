/**
 * Schedules: at which instants they fire. Computed on the native side, where the time zones are.
 */

import type { Time } from '../index.js'
import { NuxtQueueError, rethrowing, unwrap } from './errors.js'
import { toJson } from './json.js'
import { native } from './native.js'
import { checkObject, invalid } from './query.js'
import { toMs } from './time.js'

/** When something fires. One of `cron`, `interval`, `at` and `every` says it; `at` goes with `every.days`, too. */
export interface ScheduleOptions {
  /** Five fields as in crontab(5), six with seconds first, or a form such as `@daily`. Local time of the zone. */
  cron?: string
  /** Time that passes between two firings, such as `'90m'`; one second or more. Counted from `start`, or else from 1970. */
  interval?: string
  /** A time of day in the zone, `'02:00'` or `'02:00:30'`. Each day, unless `every` says otherwise. */
  at?: string
  /** Days of the calendar, or hours, minutes and seconds that pass. */
  every?: { days?: number; hours?: number; minutes?: number; seconds?: number }
  /** The IANA name of a time zone. Default `'UTC'`. */
  timezone?: string
  /** Default `true`. */
  enabled?: boolean
  /** What a firing does while the run of the one before goes on. */
  overlap?: 'skip' | 'queue' | 'replace'
  /** A time of day that a change of the clocks skips fires right after the gap (default), or not at all. */
  gap?: 'after' | 'skip'
  /** A time of day that a change of the clocks repeats fires the first time (default), or both times. */
  dstOverlap?: 'first' | 'both'
  /** What becomes of instants at which nobody was there to fire. */
  catchUp?: 'none' | 'last' | 'all'
  /** How many of them at most, with `catchUp: 'all'`. */
  catchUpLimit?: number
  /** Up to so many milliseconds a firing is put off; less than the period, and at most a day. */
  jitterMs?: number
  /** Nothing fires before: ISO 8601. Without an offset it is local time of the zone, a date alone its midnight. */
  start?: string
  /** Nothing fires after: as `start`. */
  end?: string
}

/** An instant of a schedule, as people read it. */
export interface ScheduledInstant {
  /** ISO 8601 in UTC. */
  at: string
  /** What the clocks of the zone show, with their offset from UTC: `2025-03-30T03:00:00+02:00`. */
  local: string
  /** `gap`: it stands for times of day that were skipped. `overlap`: its time of day exists twice. */
  note?: 'gap' | 'overlap'
}

const MOST = 10_000

/** The first instants of a schedule from one on. Options that can't work are an `NQ_VALIDATION` error that tells of all of it. */
export function previewSchedule(options: ScheduleOptions, from: Time, count = 10): ScheduledInstant[] {
  const isCount = Number.isInteger(count) && count >= 0 && count <= MOST
  if (!isCount) throw invalid('count', count, `a whole number from 0 to ${MOST}`)
  return JSON.parse(unwrap(native.previewSchedule(pack(options), toMs(from, 'from'), count)))
}

/** Milliseconds since the Unix epoch of the first instant after one; `undefined` if it never fires again. */
export function nextInstant(options: ScheduleOptions, after: Time): number | undefined {
  const packed = pack(options)
  const ms = toMs(after, 'after')
  return rethrowing(() => native.nextInstant(packed, ms)) ?? undefined
}

function pack(options: ScheduleOptions): string {
  checkObject(options, 'The schedule')
  try {
    return toJson(options, 'schedule') ?? ''
  } catch (error) {
    // It is no event yet whose data can't be stored.
    throw error instanceof NuxtQueueError ? new NuxtQueueError('NQ_VALIDATION', error.message) : error
  }
}
