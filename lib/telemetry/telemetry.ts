/**
 * Traces and metrics of a core, through OpenTelemetry. A run outlives processes, so what its spans hang on is recorded
 * with it: the `traceparent` of whatever started it.
 */

import type { Attributes, Context, Span } from '@opentelemetry/api'
import type { Firing, RunStatus, StoreStats } from '../../index.js'
import type { StepOutcome, TakenJob } from '../dispatch/dispatcher.js'
import type { BegunStep } from '../native-flows.js'
import { isTracing, loadApi, type OtelApi } from './api.js'
import { createInstruments, type Instruments } from './instruments.js'
import { readTraceparent, toTraceparent, traceOf } from './trace-context.js'

const SCOPE = 'nuxt-queue-core'

/** The names of a line's trace in logs: https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/. */
export interface TraceFields {
  trace_id: string
  span_id: string
  trace_flags: string
}

/** How an execution of a step ended, in attributes. */
const OUTCOMES = { done: 'completed', suspended: 'suspended', retry: 'retried', failed: 'failed' } as const

/** Tells OpenTelemetry what a core does. */
export class Telemetry {
  readonly #api: OtelApi
  readonly #instruments: Instruments | undefined

  private constructor(api: OtelApi, stats: () => StoreStats) {
    this.#api = api
    const meter = api.metrics.getMeter(SCOPE)
    if (meter !== api.createNoopMeter()) this.#instruments = createInstruments(meter, stats)
  }

  /** `undefined`: OpenTelemetry is not installed. */
  static async load(stats: () => StoreStats): Promise<Telemetry | undefined> {
    const api = await loadApi()
    return api && new Telemetry(api, stats)
  }

  /** Does something that starts runs; the call is given what is recorded with them. */
  async #produce<T>(
    name: string,
    attributes: Attributes,
    call: (traceparent?: string) => Promise<T>,
    learn: (result: T) => Attributes,
  ): Promise<T> {
    const { SpanKind, trace } = this.#api
    if (!isTracing(this.#api)) return await call()
    const span = trace.getTracer(SCOPE).startSpan(name, { kind: SpanKind.PRODUCER, attributes })
    try {
      const result = await this.#within(span, () => call(toTraceparent(span.spanContext())))
      span.setAttributes(learn(result))
      return result
    } catch (error) {
      this.#blame(span, error)
      throw error
    } finally {
      span.end()
    }
  }

  /** Starts a run. */
  async start<T extends { runId: string }>(flow: string, call: (traceparent?: string) => Promise<T>): Promise<T> {
    const attributes = { ...operation('send', 'start'), 'nuxt_queue.flow.name': flow }
    const learn = ({ runId }: T) => ({ 'nuxt_queue.run.id': runId })
    const started = await this.#produce(`start ${flow}`, attributes, call, learn)
    this.#instruments?.runsStarted.add(1, { 'nuxt_queue.flow.name': flow })
    return started
  }

  /** Fires a trigger. */
  async fire<T extends { fireId: string; status: Firing['status'] }>(
    trigger: string,
    call: (traceparent?: string) => Promise<T>,
  ): Promise<T> {
    const attributes = { ...operation('send', 'fire'), 'nuxt_queue.trigger.name': trigger }
    const learn = ({ fireId, status }: T) => ({ 'nuxt_queue.firing.id': fireId, 'nuxt_queue.firing.status': status })
    return await this.#produce(`fire ${trigger}`, attributes, call, learn)
  }

  /** A trigger fired, or was skipped. */
  fired(trigger: string, status: Firing['status']): void {
    this.#instruments?.firings.add(1, { 'nuxt_queue.trigger.name': trigger, 'nuxt_queue.firing.status': status })
  }

  /** An execution of a step begins. */
  beginStep(job: TakenJob, begun: BegunStep): StepSpan {
    const { SpanKind, trace } = this.#api
    const began = performance.now()
    const names = { 'nuxt_queue.flow.name': begun.flowName, 'nuxt_queue.step.name': job.name }
    const span = isTracing(this.#api)
      ? trace.getTracer(SCOPE).startSpan(
          `step ${job.name}`,
          {
            kind: SpanKind.CONSUMER,
            attributes: {
              ...{ ...operation('process', 'step'), ...names, 'messaging.destination.name': job.queue },
              ...{ 'messaging.message.id': job.jobId, 'nuxt_queue.run.id': job.data.runId },
              ...{ 'nuxt_queue.step.id': begun.stepId, 'nuxt_queue.step.attempt': begun.attempt },
            },
          },
          this.#contextOf(job.data.runId, begun.traceparent),
        )
      : undefined
    return {
      run: (call) => (span ? this.#within(span, call) : call()),
      fields: () => this.#fieldsOf(trace.getActiveSpan() ?? span),
      end: (outcome) => {
        const attributes = { 'nuxt_queue.step.outcome': OUTCOMES[outcome.kind] }
        span?.setAttributes(attributes)
        if (span && 'error' in outcome) this.#blame(span, outcome.error)
        span?.end()
        const seconds = (performance.now() - began) / 1000
        this.#instruments?.stepDuration.record(seconds, { ...names, ...attributes })
      },
    }
  }

  /** An await was begun. */
  awaiting(kind: string): void {
    this.#instruments?.awaitsOpened.add(1, { 'nuxt_queue.await.kind': kind })
  }

  /** A step goes on after an await. */
  awaited(kind: string, outcome: string): void {
    const attributes = { 'nuxt_queue.await.kind': kind, 'nuxt_queue.await.outcome': outcome }
    this.#instruments?.awaitsEnded.add(1, attributes)
    this.#api.trace.getActiveSpan()?.addEvent('nuxt_queue.await.ended', attributes)
  }

  /** A run has ended here: its span tells of it from its start on. `read` is asked if somebody takes it. */
  async runEnded(read: () => Promise<RunStatus | null>): Promise<void> {
    if (this.#instruments === undefined && !isTracing(this.#api)) return
    const run = await read()
    if (run?.endedAt === undefined) return
    // No numbers: OpenTelemetry takes those from before this process began for something else.
    const [startTime, endTime] = [new Date(run.startedAt), new Date(run.endedAt)]
    const attributes = { 'nuxt_queue.flow.name': run.flowName, 'nuxt_queue.run.status': run.status }
    this.#instruments?.runDuration.record((endTime.getTime() - startTime.getTime()) / 1000, attributes)
    const span = this.#api.trace.getTracer(SCOPE).startSpan(
      `run ${run.flowName}`,
      {
        startTime,
        attributes: {
          ...{ ...attributes, 'nuxt_queue.run.id': run.runId },
          ...(run.correlationId !== undefined && { 'nuxt_queue.correlation.id': run.correlationId }),
        },
      },
      this.#contextOf(run.runId, run.traceparent),
    )
    if (run.status === 'failed') span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    span.end(endTime)
  }

  stop(): void {
    this.#instruments?.stop()
  }

  #contextOf(runId: string, traceparent: string | undefined): Context {
    const { ROOT_CONTEXT, trace } = this.#api
    return trace.setSpanContext(ROOT_CONTEXT, readTraceparent(traceparent) ?? traceOf(runId))
  }

  #within<T>(span: Span, call: () => T): T {
    const { context, trace } = this.#api
    return context.with(trace.setSpan(context.active(), span), call)
  }

  #fieldsOf(span: Span | undefined): TraceFields | undefined {
    const context = span?.spanContext()
    if (context === undefined || !this.#api.isSpanContextValid(context)) return undefined
    const { traceId, spanId, traceFlags } = context
    return { trace_id: traceId, span_id: spanId, trace_flags: traceFlags.toString(16).padStart(2, '0') }
  }

  #blame(span: Span, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    span.recordException(error instanceof Error ? error : message)
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message })
  }
}

/** An execution of a step, as it is told of. */
export interface StepSpan {
  /** Calls something that is part of it: spans that it makes belong below. */
  run<T>(call: () => T): T
  /** What a line that is logged now belongs to. */
  fields(): TraceFields | undefined
  /** It has ended. */
  end(outcome: StepOutcome): void
}

/** As the semantic conventions for messaging have it: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/. */
function operation(type: 'send' | 'process', name: string): Attributes {
  return { 'messaging.system': 'nuxt_queue', 'messaging.operation.type': type, 'messaging.operation.name': name }
}
