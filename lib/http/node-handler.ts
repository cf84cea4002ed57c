/**
 * `toNodeHandler`: for servers on Node's own requests.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type * as surface from '../../index.js'
import type { Chunks } from './body.js'
import { discard } from './discard.js'
import { readNodeBody } from './node-body.js'
import { describeNode } from './request.js'
import { Webhooks } from './webhooks.js'

/** A handler of Node's requests; documented in `index.d.ts`. */
export function toNodeHandler(
  triggers: Pick<surface.TriggerEngine, 'handleWebhook'>,
  options?: surface.HttpHandlerOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const webhooks = new Webhooks(triggers, options)
  return async (request, response) => {
    try {
      await handle(webhooks, request, response)
    } catch (error) {
      const answer = webhooks.fail(error)
      if (response.headersSent) response.destroy()
      else await send(response, answer)
    }
  }
}

async function handle(webhooks: Webhooks, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readNodeBody(request, webhooks.most)
  if ('bytes' in body) {
    await send(response, await webhooks.answer({ ...describeNode(request), body: body.bytes }))
  } else {
    await send(response, webhooks.refuse(body.refused), 'rest' in body ? body.rest : undefined)
  }
}

async function send(
  response: ServerResponse,
  { status, headers, body }: surface.WebhookResponse,
  rest?: Chunks,
): Promise<void> {
  // The sender has left, or a time limit of the server's has answered.
  if (response.destroyed || response.headersSent) return
  if (rest === undefined) {
    response.writeHead(status, headers).end(body)
    return
  }
  // With its length said, the answer is complete for the sender before it ends.
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' })
  response.write(body)
  await discard(rest)
  response.end()
}
