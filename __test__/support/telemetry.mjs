// OpenTelemetry's SDK, registered for this process, with everything that it is told kept in memory.

import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'

/** Registers it. */
export function registerSdk() {
  const exporter = new InMemorySpanExporter()
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 2 ** 30 })
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  return {
    /** The spans that have ended, as plain objects. */
    spans: () => exporter.getFinishedSpans().map(plain),
    forget: () => exporter.reset(),
    /** The values of a metric now, each with its attributes. */
    async values(name) {
      metricExporter.reset()
      await reader.forceFlush()
      const all = metricExporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
      const found = all.find(({ descriptor }) => descriptor.name === name)
      return (found?.dataPoints ?? []).map(({ value, attributes }) => ({
        value,
        attributes,
        unit: found.descriptor.unit,
      }))
    },
  }
}

function plain(span) {
  const { traceId, spanId } = span.spanContext()
  return {
    ...{ name: span.name, kind: SpanKind[span.kind], traceId, spanId, parent: span.parentSpanContext?.spanId },
    ...{ status: SpanStatusCode[span.status.code], message: span.status.message, attributes: span.attributes },
    ...{ from: span.startTime[0] * 1000 + span.startTime[1] / 1e6, to: span.endTime[0] * 1000 + span.endTime[1] / 1e6 },
    links: span.links.map(({ context }) => context.spanId),
    events: span.events.map(({ name, attributes }) => ({ name, attributes })),
  }
}
