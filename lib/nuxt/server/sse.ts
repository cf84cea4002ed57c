/**
 * The events of a run as they come, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html.
 */

import type { EventStore, UntypedRecord } from '../../../index.js'
import type { H3Event } from '../../http/h3-event.js'
import { member } from '../../http/handed-body.js'

/** So that nothing in between takes a quiet connection for a dead one. */
const SIGN_OF_LIFE_MS = 15_000

const HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }

/** All events of a run behind `after` (or `Last-Event-ID`), and then those that come. */
export function streamEvents(store: EventStore, stream: string, event: H3Event, query: URLSearchParams): Response {
  const after = headerOf(event, 'last-event-id') ?? query.get('after') ?? '0-0'
  const encoder = new TextEncoder()
  let stop = () => {}
  let wanted = () => {}
  const body = new ReadableStream<Uint8Array>({
    start: async (controller) => {
      let isOpen = true
      const send = (text: string) => isOpen && controller.enqueue(encoder.encode(text))
      const deliver = async (record: UntypedRecord) => {
        send(`id: ${record.id}\nevent: message\ndata: ${JSON.stringify(record)}\n\n`)
        // Who reads slowly gets the rest later.
        if (isOpen && (controller.desiredSize ?? 0) <= 0) await new Promise<void>((resolve) => (wanted = resolve))
      }
      const timer = setInterval(() => send(': alive\n\n'), SIGN_OF_LIFE_MS).unref()
      const subscribed = store.subscribe(stream, deliver as never, { after })
      const end = () => {
        stop()
        controller.close()
      }
      stop = () => {
        isOpen = false
        stop = () => {}
        clearInterval(timer)
        endings.delete(end)
        wanted()
        void subscribed.then((subscription) => subscription.unsubscribe()).catch(() => {})
      }
      endWithServer(end)
      // Version 1 of h3 does not cancel what nobody reads any more.
      onGone(event, () => stop())
      await subscribed
    },
    pull: () => wanted(),
    cancel: () => stop(),
  })
  return new Response(body, { headers: HEADERS })
}

/** How to end what is open. */
const endings = new Set<() => void>()
let isTold = false

/** Nitro waits for all connections before it closes; these would last. */
function endWithServer(end: () => void): void {
  endings.add(end)
  if (isTold) return
  isTold = true
  for (const signal of (process.env.NITRO_SHUTDOWN_SIGNALS || 'SIGTERM SIGINT').split(' ')) {
    // Where nobody listens, the process ends at once, and a listener would prevent that.
    if (process.listenerCount(signal) > 0) process.once(signal, endAll)
  }
}

function endAll(): void {
  for (const end of [...endings]) end()
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
