/**
 * The last part of an await's URL: which await it is, signed, so that nobody can make one up.
 */

import { createHmac, timingSafeEqual } from 'node:crypto'

/** An await of a run. */
export interface AwaitPlace {
  runId: string
  awaitId: string
}

export function signToken(secret: string | Uint8Array, { runId, awaitId }: AwaitPlace): string {
  const place = Buffer.from(JSON.stringify([runId, awaitId])).toString('base64url')
  return `${place}.${signature(secret, place).toString('base64url')}`
}

/** The await that a token is for, or `undefined` if the token is not one of ours. */
export function readToken(secret: string | Uint8Array, token: string): AwaitPlace | undefined {
  const [place, given, ...more] = token.split('.')
  if (place === undefined || given === undefined || more.length > 0) return undefined
  const expected = signature(secret, place)
  const signed = Buffer.from(given, 'base64url')
  if (signed.length !== expected.length || !timingSafeEqual(signed, expected)) return undefined
  const [runId, awaitId] = JSON.parse(Buffer.from(place, 'base64url').toString()) as [string, string]
  return { runId, awaitId }
}

function signature(secret: string | Uint8Array, place: string): Buffer {
  return createHmac('sha256', secret).update(place).digest()
}
