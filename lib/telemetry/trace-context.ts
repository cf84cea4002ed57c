/**
 * Where a run stands in a distributed trace, in words that are recorded: W3C Trace Context, https://www.w3.org/TR/trace-context/.
 */

import { createHash } from 'node:crypto'
import type { SpanContext } from '@opentelemetry/api'

const VERSION_00 = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** The `traceparent` of a span. */
export function toTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

/** The span that a `traceparent` is of; `undefined`: it is none. */
export function readTraceparent(traceparent: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] = VERSION_00.exec(traceparent ?? '') ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}

/** For a run that nobody traced when it began: the same for all its steps, so that they are in one trace. */
export function traceOf(runId: string): SpanContext {
  const digest = createHash('sha256').update(runId).digest('hex')
  return { traceId: digest.slice(0, 32), spanId: digest.slice(32, 48), traceFlags: 1, isRemote: true }
}
