import type { ErrorCode } from '../index.js'

/** An error with a stable code. */
export class NuxtQueueError extends Error {
  override readonly name = 'NuxtQueueError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

interface ErrorText {
  code: ErrorCode
  message: string
  cause: string | null
}

/** Whether the outcome of a native call is an error. */
export function isError(outcome: string): boolean {
  return outcome.charCodeAt(0) === 33 // '!'
}

/** The error in the outcome of a native call. Made where it is thrown, so that its stack shows the caller. */
export function toError(outcome: string): NuxtQueueError {
  const { code, message, cause } = JSON.parse(outcome.slice(1)) as ErrorText
  return new NuxtQueueError(code, message, cause === null ? undefined : { cause: new Error(cause) })
}

/** The outcome of a native call that is known, if it is not an error. */
export function unwrap(outcome: string): string {
  if (isError(outcome)) throw toError(outcome)
  return outcome
}

/** Calls a native function that throws its error, and throws it as ours. */
export function rethrowing<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (error instanceof Error && isError(error.message)) throw toError(error.message)
    throw error
  }
}

/** An argument as error messages show it: short, and never the contents of an object. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
