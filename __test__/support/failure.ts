/** How calls fail. */

import { inspect } from 'node:util'
import { type ErrorCode, NuxtQueueError } from '../../index.js'

/** The error that a call throws, or its promise rejects with. Anything but an error of this package fails the test. */
export async function failure(call: () => unknown): Promise<NuxtQueueError> {
  let result: unknown
  try {
    result = await call()
  } catch (error) {
    if (error instanceof NuxtQueueError) return error
    throw new Error(`expected a NuxtQueueError, got ${inspect(error)}`, { cause: error })
  }
  throw new Error(`expected a failure, got the result ${inspect(result)}`)
}

/** Checks that a call fails with one of these codes, and with this in its message. */
export async function refuses(
  call: () => unknown,
  codes: ErrorCode | ErrorCode[],
  message: string | RegExp = '',
): Promise<void> {
  const error = await failure(call)
  if (![codes].flat().includes(error.code)) {
    throw new Error(`expected ${[codes].flat().join(' or ')}, got ${error.code}: ${error.message}`, { cause: error })
  }
  const isMeant = typeof message === 'string' ? error.message.includes(message) : message.test(error.message)
  if (!isMeant) {
    throw new Error(`expected a message with ${inspect(message)}, got ${inspect(error.message)}`, { cause: error })
  }
}

/** Everything that a person or a log might see of a value: message, stack, causes, hidden members. */
export function allTextOf(value: unknown): string {
  const texts = [String(value), inspect(value), inspect(value, { showHidden: true, depth: 20, getters: true })]
  for (let error = value; error instanceof Error; error = error.cause) {
    texts.push(error.message, error.stack ?? '', JSON.stringify(error), JSON.stringify({ ...error }))
  }
  return texts.join('\n')
}
