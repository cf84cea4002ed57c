/**
 * The API of OpenTelemetry, where it is installed.
 */

import type { TracerProvider } from '@opentelemetry/api'
import { warn } from '../warn.js'

/** What is used of `@opentelemetry/api`. */
export type OtelApi = typeof import('@opentelemetry/api')

/** Loads it; `undefined`: it is not installed. */
export async function loadApi(): Promise<OtelApi | undefined> {
  try {
    return await import('@opentelemetry/api')
  } catch (error) {
    // One that is installed and broken is worth a word; work goes on without it.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') {
      warn('@opentelemetry/api could not be loaded; there are no traces and no metrics', error, 'NQ_TELEMETRY')
    }
    return undefined
  }
}

/** Tells whether somebody takes spans. An SDK may be registered at any time. */
export function watchTracing({ ProxyTracerProvider, trace }: OtelApi): () => boolean {
  const nobody: TracerProvider = new ProxyTracerProvider().getDelegate()
  return () => {
    const provider = trace.getTracerProvider()
    return !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== nobody
  }
}
