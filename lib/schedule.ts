/**
 * Schedules: at which instants they fire. Computed on the native side, where the time zones are.
 */

import type { ScheduledInstant, ScheduleOptions, Time } from '../index.js'
import { NuxtQueueError, rethrowing, unwrap } from './errors.js'
import { toJson } from './json.js'
import { native } from './native.js'
import { checkObject, invalid } from './query.js'
import { toMs } from './time.js'

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
