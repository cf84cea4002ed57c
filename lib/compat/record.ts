/**
 * Events in the original's shape, and back.
 */

import type * as surface from '../../compat.js'
import type { UntypedRecord } from '../../index.js'
import type { AnyEvent } from '../pack.js'
import { invalid } from '../query.js'

/** What an event may say of its place. The first five the original has, too. */
const TEXTS = ['runId', 'flowName', 'stepName', 'stepId'] as const
const MORE_TEXTS = ['instanceId', 'workerId', 'queue', 'triggerName', 'correlationId', 'causationId'] as const

/** A record, with `ts` where its backend keeps what its writer noted. */
export type NotedRecord = UntypedRecord & { ts?: string }

/** A stored event as the original knows it. */
export function toRecord(record: NotedRecord): surface.EventRecord {
  const { id, timestamp, ts, type, runId, flowName, stepName, stepId, attempt, data } = record
  return {
    ...{ id, ts: ts ?? timestamp, type, runId: runId ?? '', flowName: flowName ?? '' },
    ...(stepName !== undefined && { stepName }),
    ...(stepId !== undefined && { stepId }),
    ...(attempt !== undefined && { attempt }),
    ...(data !== undefined && { data }),
  }
}

/**
 * An event of the original's bus as a store takes it. What has no place in an entry is passed over, and data is taken
 * as JSON takes it: nobody hears of an event that is refused.
 */
export function toEvent(event: surface.IngressEvent): AnyEvent {
  if (typeof event !== 'object' || event === null) throw invalid('The event', event, 'an object with a type')
  const given = event as unknown as Record<string, unknown>
  const texts = [...TEXTS, ...MORE_TEXTS].flatMap((name) => {
    const value = given[name]
    return value === undefined || value === null || value === '' ? [] : [[name, String(value)]]
  })
  const attempt = Number(given.attempt)
  return {
    type: event.type,
    ...Object.fromEntries(texts),
    ...(given.attempt != null && Number.isSafeInteger(attempt) && attempt >= 0 && { attempt }),
    ...(event.data !== undefined && { data: event.data }),
  }
}

/** The same event with data as `JSON.stringify` reads it, which leaves out what it can't hold. */
export function withJsonData(event: AnyEvent): AnyEvent {
  const text = JSON.stringify(event.data)
  const { data: _data, ...others } = event
  return text === undefined ? others : { ...others, data: JSON.parse(text) }
}
