/**
 * Answers awaits over HTTP, whatever the server's framework.
 */

import type { WebhookRequest, WebhookResponse } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError } from '../errors.js'
import { Json } from '../native-flows.js'
import { headerOf, respond } from './http.js'
import { type AwaitPlace, readToken } from './webhook-token.js'

/** Where the URLs of awaits begin. */
export const AWAIT_PATH = '/api/_triggers/await/'

const MOST_BYTES = 1 << 20

/** What ends an await. */
const ENDINGS = ['trigger.fired', 'trigger.timeout', 'trigger.canceled']

/** Answers a request to the URL of an await that ends with this token. */
export async function answerAwait(
  engine: Engine,
  secret: () => string | Uint8Array,
  request: WebhookRequest,
  token: string,
): Promise<WebhookResponse> {
  const { method, headers, body } = request
  const place = readToken(secret(), token)
  if (place === undefined) return respond(404, { error: 'not found' })
  if (method.toUpperCase() !== 'POST') return respond(405, { error: 'use POST' }, { allow: 'POST' })
  if (body.byteLength > MOST_BYTES) return respond(413, { error: `more than ${MOST_BYTES} bytes` })
  if (!isJson(headers)) return respond(415, { error: 'send application/json' })
  const payload = parse(body)
  if (payload === undefined) return respond(400, { error: 'the body is not JSON' })
  return await resolve(engine, place, payload.value)
}

async function resolve(engine: Engine, place: AwaitPlace, value: unknown): Promise<WebhookResponse> {
  try {
    const { resolved, jobs } = await engine.callOwing('resolveAwait', { ...place, data: Json.of(value, 'The body') })
    engine.executions.wake(place.runId, place.awaitId)
    await engine.handOverOrWarn([place.runId], jobs)
    return resolved ? respond(200, { status: 'accepted' }) : await refuse(engine, place)
  } catch (error) {
    if (!(error instanceof NuxtQueueError)) throw error
    if (error.code === 'NQ_NOT_FOUND') return respond(410, { error: 'the run is gone' })
    if (error.code === 'NQ_VALIDATION' || error.code === 'NQ_INVALID_EVENT')
      return respond(400, { error: error.message })
    if (error.code === 'NQ_TOO_LARGE') return respond(413, { error: 'more than an event may hold' })
    throw error
  }
}

/** Why an await takes no answer. Its record stays when its step has ended and it is no longer an await of the run. */
async function refuse(engine: Engine, { runId, awaitId }: AwaitPlace): Promise<WebhookResponse> {
  const stream = engine.streamOf(runId)
  const events = await engine.options.store.query({ stream, types: ENDINGS })
  const ending = events.find(({ data }) => data?.awaitId === awaitId)
  if (ending?.type === 'trigger.fired') return respond(409, { error: 'already used' })
  const status = await engine.call('status', { runId })
  if (status === null || status.endedAt !== undefined) return respond(410, { error: 'the run has ended' })
  if (ending !== undefined) return respond(409, { error: 'no longer waited for' })
  // The sender was faster than the handler that gave out the URL.
  return respond(503, { error: 'not waited for yet' }, { 'retry-after': '1' })
}

function isJson(headers: WebhookRequest['headers']): boolean {
  return /^\s*application\/([\w.-]+\+)?json\s*(;|$)/i.test(headerOf(headers, 'content-type') ?? '')
}

function parse(body: Uint8Array): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) }
  } catch {
    return undefined
  }
}
