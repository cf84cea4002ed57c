/**
 * The events of a run as they come, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html.
 */

import type { EventStore } from '../../../index.js'
import type { H3Event } from '../../http/h3-event.js'
import { member } from '../../http/handed-body.js'

/** So that nothing in between takes a quiet connection for a dead one. */
const SIGN_OF_LIFE_MS = 15_000

const HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }

/** All events of a run behind `after` (or `Last-Event-ID`), and then those that come. */
export async function streamEvents(
  store: EventStore,
  stream: string,
  event: H3Event,
  query: URLSearchParams,
): Promise<Response> {
  const after = headerOf(event, 'last-event-id') ?? query.get('after') ?? '0-0'
  const encoder = new TextEncoder()
  let stop = () => {}
  const body = new ReadableStream<Uint8Array>({
    start: async (controller) => {
      const send = (text: string) => controller.enqueue(encoder.encode(text))
      const subscription = await store.subscribe(
        stream,
        (record) => send(`id: ${record.id}\nevent: message\ndata: ${JSON.stringify(record)}\n\n`),
        { after },
      )
      const timer = setInterval(() => send(': alive\n\n'), SIGN_OF_LIFE_MS).unref()
      stop = () => {
        clearInterval(timer)
        stop = () => {}
        void subscription.unsubscribe().catch(() => {})
      }
      // Version 1 of h3 does not cancel what nobody reads any more.
      onGone(event, () => stop())
    },
    cancel: () => stop(),
  })
  return new Response(body, { headers: HEADERS })
}

function headerOf({ node, web }: H3Event, name: string): string | undefined {
  const given = web ? web.headers.get(name) : node?.headers[name]
  return typeof given === 'string' && given !== '' ? given : undefined
}

function onGone({ event, web }: H3Event, gone: () => void): void {
  web?.signal.addEventListener('abort', gone)
  const node = member(event, 'node')
  const response = typeof node === 'object' && node !== null ? member(node, 'res') : undefined
  const once = typeof response === 'object' && response !== null ? (response as NodeJS.EventEmitter).once : undefined
  if (typeof once === 'function') once.call(response, 'close', gone)
}
