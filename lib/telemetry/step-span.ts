/**
 * An execution of a step, as OpenTelemetry is told of it.
 */

import type { Attributes, Context, Link, Span } from '@opentelemetry/api'
import type { StepOutcome, TakenJob } from '../dispatch/dispatcher.js'
import type { BegunStep } from '../native-flows.js'
import type { OtelApi } from './api.js'
import { blame } from './exception.js'
import type { Instruments } from './instruments.js'
import { readTraceparent, toTraceparent } from './trace-context.js'

/** The names of a line's trace in logs: https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/. */
export interface TraceFields {
  trace_id: string
  span_id: string
  trace_flags: string
}

/** How an execution ended, in attributes. */
const OUTCOMES = { done: 'completed', suspended: 'suspended', retry: 'retried', failed: 'failed' } as const

export interface StepPlace {
  api: OtelApi
  instruments: Instruments | undefined
  /** `undefined`: nobody takes spans. */
  span: Span | undefined
  job: TakenJob
  begun: BegunStep
}

export class StepSpan {
  readonly #place: StepPlace
  readonly #names: Attributes
  readonly #began = performance.now()

  constructor(place: StepPlace) {
    const { begun, instruments, job } = place
    this.#place = place
    this.#names = { 'nuxt_queue.flow.name': begun.flowName, 'nuxt_queue.step.name': job.name }
    if (begun.waitedMs === undefined) return
    const attributes = { ...this.#names, 'messaging.destination.name': job.queue }
    instruments?.stepDelay.record(begun.waitedMs / 1000, attributes)
  }

  /** Calls something that is part of it: spans that it makes belong below. */
  run<T>(call: () => T): T {
    const { api, span } = this.#place
    return span ? api.context.with(api.trace.setSpan(api.context.active(), span), call) : call()
  }

  /** What a line that is logged now belongs to. */
  fields(): TraceFields | undefined {
    const { api, span } = this.#place
    const context = (api.trace.getActiveSpan() ?? span)?.spanContext()
    if (context === undefined || !api.isSpanContextValid(context)) return undefined
    const { traceId, spanId, traceFlags } = context
    return { trace_id: traceId, span_id: spanId, trace_flags: traceFlags.toString(16).padStart(2, '0') }
  }

  /** An await was begun. */
  awaiting(kind: string): void {
    this.#place.instruments?.awaitsOpened.add(1, { 'nuxt_queue.await.kind': kind })
  }

  /** It goes on after an await. */
  awaited(kind: string, outcome: string): void {
    const attributes = { 'nuxt_queue.await.kind': kind, 'nuxt_queue.await.outcome': outcome }
    this.#place.instruments?.awaitsEnded.add(1, attributes)
    this.#place.span?.addEvent('nuxt_queue.await.ended', attributes)
  }

  /** It has ended. */
  end(outcome: StepOutcome): void {
    const { api, instruments, span } = this.#place
    const isDiscarded = outcome.kind === 'done' && outcome.discarded === true
    const attributes = { 'nuxt_queue.step.outcome': isDiscarded ? 'discarded' : OUTCOMES[outcome.kind] }
    if (span && 'error' in outcome) blame(api, span, outcome.error)
    span?.setAttributes(attributes)
    span?.end()
    instruments?.stepDuration.record((performance.now() - this.#began) / 1000, { ...this.#names, ...attributes })
  }
}

/** Makes the span of an execution, below what its run began with. */
export function startStepSpan(
  api: OtelApi,
  scope: string,
  { job, begun }: Pick<StepPlace, 'job' | 'begun'>,
  parent: Context,
): Span {
  const attributes = {
    ...operation('process', 'step'),
    ...{ 'messaging.destination.name': job.queue, 'messaging.message.id': job.jobId },
    ...{ 'nuxt_queue.run.id': job.data.runId, 'nuxt_queue.flow.name': begun.flowName },
    ...{ 'nuxt_queue.step.name': job.name, 'nuxt_queue.step.id': begun.stepId },
    'nuxt_queue.step.attempt': begun.attempt,
  }
  const options = { kind: api.SpanKind.CONSUMER, attributes, links: linksOf(api, job, parent) }
  return api.trace.getTracer(scope).startSpan(`step ${job.name}`, options, parent)
}

/** To what put its job into the queue, unless that is its parent anyway. */
function linksOf({ trace }: OtelApi, { data }: TakenJob, parent: Context): Link[] {
  const context = readTraceparent(data.traceparent)
  const known = trace.getSpanContext(parent)
  if (context === undefined || (known && toTraceparent(known) === data.traceparent)) return []
  return [{ context }]
}

/** As the semantic conventions for messaging have it: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/. */
export function operation(type: 'send' | 'process', name: string): Attributes {
  return { 'messaging.system': 'nuxt_queue', 'messaging.operation.type': type, 'messaging.operation.name': name }
}
