/**
 * A request without its body, as `handleWebhook` takes it.
 */

import type { IncomingMessage } from 'node:http'
import type { WebhookRequest } from '../../index.js'
import { member } from './handed-body.js'

type Head = Omit<WebhookRequest, 'body'>
type Headers = WebhookRequest['headers']

/** That of Node, with the path that the client asked for, even if a framework has cut its own base off. */
export function describeNode(request: IncomingMessage): Head {
  const originalUrl = member(request, 'originalUrl')
  const url = typeof originalUrl === 'string' ? originalUrl : (request.url ?? '/')
  return {
    ...{ method: request.method ?? 'GET', headers: headersOf(request), ip: request.socket?.remoteAddress || undefined },
    ...describeUrl(url),
  }
}

/** That of the web. */
export function describeWeb(request: Request): Head {
  return { method: request.method, headers: Object.fromEntries(request.headers), ...describeUrl(request.url) }
}

function describeUrl(url: string): Pick<Head, 'path' | 'query'> {
  const path = pathOf(url)
  const at = path.indexOf('?')
  return { path, query: at < 0 ? {} : Object.fromEntries(new URLSearchParams(path.slice(at))) }
}

/** Path and query; a proxy may ask for a whole URL. */
function pathOf(url: string): string {
  if (url.startsWith('/') || !URL.canParse(url)) return url
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** The headers as they came: `headers` drops or joins what comes twice. */
function headersOf({ rawHeaders, headers }: IncomingMessage): Headers {
  // Platforms that make requests themselves may leave them out.
  if (!Array.isArray(rawHeaders) || rawHeaders.length === 0) return { ...headers }
  const all = new Map<string, string | string[]>()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = String(rawHeaders[at]).toLowerCase()
    // Of HTTP/2: the method, the path and the like.
    if (name.startsWith(':')) continue
    const before = all.get(name)
    const value = String(rawHeaders[at + 1])
    all.set(name, before === undefined ? value : [before, value].flat())
  }
  return Object.fromEntries(all)
}
