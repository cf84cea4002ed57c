/**
 * What was thrown, on a span. It may be anything, and whatever it is must not change what becomes of a step.
 */

import type { Exception, Span } from '@opentelemetry/api'
import { describe } from '../step-error.js'
import type { OtelApi } from './api.js'

/** Says on a span that it ended with an error, in the words that the record has for it. */
export function blame({ SpanStatusCode }: OtelApi, span: Span, thrown: unknown): void {
  const { error: message, stack } = describe(thrown)
  const name = nameOf(thrown)
  // Copies: the SDK would read the members of what was thrown.
  const exception: Exception = { name, message, ...(stack !== undefined && { stack }) }
  span.recordException(exception)
  span.setStatus({ code: SpanStatusCode.ERROR, message })
}

/** The code of an error that has one, as the SDK would say, or else its name. */
function nameOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return 'Error'
    const { code, name } = thrown as NodeJS.ErrnoException
    return typeof code === 'string' && code !== '' ? code : String(name)
  } catch {
    return 'Error'
  }
}
