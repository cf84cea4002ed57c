/**
 * Traces and metrics of a core, through OpenTelemetry. A run outlives processes, so what its spans hang on is recorded
 * with it: the `traceparent` of whatever started it.
 */

import type { Attributes, Context, Span, TextMapGetter } from '@opentelemetry/api'
import type { Firing, RunStatus, StepJob, StoreStats, WebhookRequest } from '../../index.js'
import type { TakenJob } from '../dispatch/dispatcher.js'
import type { BegunStep } from '../native-flows.js'
import { headerOf } from '../trigger/http.js'
import { loadApi, type OtelApi, watchTracing } from './api.js'
import { blame } from './exception.js'
import { type Instruments, instrumentsOf } from './instruments.js'
import { operation, StepSpan, startStepSpan } from './step-span.js'
import { readTraceparent, toTraceparent, traceOf } from './trace-context.js'

const SCOPE = 'nuxt-queue-core'

/** How a propagator reads a request. */
const HEADERS: TextMapGetter<WebhookRequest['headers']> = { get: headerOf, keys: Object.keys }

/** Tells OpenTelemetry what a core does. */
export class Telemetry {
  readonly #api: OtelApi
  /** Whether somebody takes spans. */
  readonly #isTracing: () => boolean
  readonly #instruments: Instruments | undefined
  readonly #unwatch: () => void = () => {}

  private constructor(api: OtelApi, stats: () => StoreStats) {
    this.#api = api
    this.#isTracing = watchTracing(api)
    const meter = api.metrics.getMeter(SCOPE)
    if (meter === api.createNoopMeter()) return
    this.#instruments = instrumentsOf(meter)
    this.#unwatch = this.#instruments.watch(stats)
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
    if (!this.#isTracing()) return await call()
    const span = trace.getTracer(SCOPE).startSpan(name, { kind: SpanKind.PRODUCER, attributes })
    try {
      const result = await this.#within(span, () => call(toTraceparent(span.spanContext())))
      span.setAttributes(learn(result))
      return result
    } catch (error) {
      blame(this.#api, span, error)
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

  /** Does what a request asks for, within the trace that its headers name if nobody has looked at them. */
  receive<T>(headers: WebhookRequest['headers'], call: () => T): T {
    const { context, propagation, trace } = this.#api
    if (!this.#isTracing() || trace.getActiveSpan()) return call()
    return context.with(propagation.extract(context.active(), headers, HEADERS), call)
  }

  /** Jobs with the span that puts them into their queue, if there is one. */
  sign(jobs: readonly StepJob[]): readonly StepJob[] {
    const context = this.#isTracing() ? this.#api.trace.getActiveSpan()?.spanContext() : undefined
    if (context === undefined || !this.#api.isSpanContextValid(context)) return jobs
    const traceparent = toTraceparent(context)
    return jobs.map((job) => ({ ...job, data: { ...job.data, traceparent } }))
  }

  /** An execution of a step begins. `undefined`: nobody is to be told. */
  beginStep(job: TakenJob, begun: BegunStep): StepSpan | undefined {
    const [api, instruments, isTracing] = [this.#api, this.#instruments, this.#isTracing()]
    if (instruments === undefined && !isTracing) return undefined
    const parent = () => this.#contextOf(job.data.runId, begun.traceparent)
    const span = isTracing ? startStepSpan(api, SCOPE, { job, begun }, parent()) : undefined
    return new StepSpan({ api, instruments, span, job, begun })
  }

  /** A run has ended here: its span tells of it from its start on. `read` is asked if somebody takes it. */
  async runEnded(read: () => Promise<RunStatus | null>): Promise<void> {
    if (this.#instruments === undefined && !this.#isTracing()) return
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

  /** Its store is closed. */
  stop(): void {
    this.#unwatch()
  }

  #contextOf(runId: string, traceparent: string | undefined): Context {
    const { ROOT_CONTEXT, trace } = this.#api
    return trace.setSpanContext(ROOT_CONTEXT, readTraceparent(traceparent) ?? traceOf(runId))
  }

  #within<T>(span: Span, call: () => T): T {
    const { context, trace } = this.#api
    return context.with(trace.setSpan(context.active(), span), call)
  }
}
