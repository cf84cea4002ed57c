/**
 * `toH3Handler`: for h3, and so for Nuxt and Nitro.
 *
 * It answers with a `Response`: version 1 sends one since 1.8, version 2 knows nothing else, and on platforms where
 * nothing listens both turn it into what the platform wants. To write to Node's response works in version 1 only where
 * there is one, and in version 2 needs an answer that says so.
 */

import type * as surface from '../../index.js'
import type { Body, Chunks } from './body.js'
import { discard } from './discard.js'
import { readH3Body } from './h3-body.js'
import { describeH3, toH3Event } from './h3-event.js'
import { Webhooks } from './webhooks.js'

/** A handler of h3's events; documented in `index.d.ts`. */
export function toH3Handler(
  triggers: Pick<surface.TriggerEngine, 'handleWebhook'>,
  options?: surface.HttpHandlerOptions,
): (event: object) => Promise<Response> {
  const webhooks = new Webhooks(triggers, options)
  const handler = async (event: object) => {
    try {
      return await handle(webhooks, event)
    } catch (error) {
      return toResponse(webhooks.fail(error))
    }
  }
  // What `defineEventHandler` of version 1 adds: without it Nitro warns of a handler that is not wrapped.
  return Object.assign(handler, { __is_handler__: true as const })
}

async function handle(webhooks: Webhooks, event: object): Promise<Response> {
  const h3Event = toH3Event(event)
  const body: Body = await readH3Body(h3Event, webhooks.most)
  if ('bytes' in body) return toResponse(await webhooks.answer({ ...describeH3(h3Event), body: body.bytes }))
  return toResponse(webhooks.refuse(body.refused), 'rest' in body ? body.rest : undefined)
}

function toResponse({ status, headers, body }: surface.WebhookResponse, rest?: Chunks): Response {
  // Some statuses allow no body, not even an empty one.
  if (rest === undefined) return new Response(body === '' ? null : body, { status, headers })
  const bytes = new TextEncoder().encode(body)
  const closing = { ...headers, 'content-length': String(bytes.byteLength), connection: 'close' }
  return new Response(endingAfter(rest, bytes), { status, headers: closing })
}

/** The bytes at once, and the end when the sender has had time for them. */
function endingAfter(rest: Chunks, bytes: Uint8Array<ArrayBuffer>): ReadableStream {
  return new ReadableStream({
    start: (controller) => controller.enqueue(bytes),
    pull: async (controller) => {
      await discard(rest)
      controller.close()
    },
  })
}
