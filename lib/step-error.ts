/**
 * What a handler threw, as the record of its step tells it.
 */

import { inspect } from 'node:util'

/** In UTF-16 units. */
const LONGEST_TEXT = 16 * 1024

/** Errors within errors. */
const MOST_CAUSES = 5

export interface StepFailure {
  error: string
  stack?: string
  /** Trying again would not help. */
  final?: true
}

/** Describes anything that can be thrown; never throws itself. */
export function describe(thrown: unknown): StepFailure {
  try {
    if (!(thrown instanceof Error)) return { error: cut(`The handler threw ${text(thrown)} instead of an Error.`) }
    const { name, message } = thrown
    const isFinal = name === 'UnrecoverableError' || (thrown as { retryable?: unknown }).retryable === false
    const error = cut(String(message) || String(name))
    return { error, stack: cut(stackOf(thrown)), ...(isFinal && { final: true }) }
  } catch {
    // Getters and proxies may do anything.
    return { error: "The handler threw something that can't be read." }
  }
}

function stackOf(error: Error): string {
  const stacks: string[] = []
  for (let at: unknown = error; at instanceof Error && stacks.length < MOST_CAUSES; at = at.cause) {
    stacks.push(String(at.stack ?? at))
  }
  return stacks.join('\nCaused by: ')
}

function text(thrown: unknown): string {
  return inspect(thrown, { depth: 3, breakLength: 120, maxStringLength: LONGEST_TEXT })
}

function cut(text: string): string {
  if (text.length <= LONGEST_TEXT) return text.toWellFormed()
  // A character of two units must not be torn.
  return `${text.slice(0, LONGEST_TEXT - 1).toWellFormed()}…`
}
