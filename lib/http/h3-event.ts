/**
 * An event of h3, of either version, by its members: h3 itself is not needed.
 */

import type { IncomingMessage } from 'node:http'
import type { WebhookRequest } from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import { member } from './handed-body.js'
import { describeNode, describeWeb } from './request.js'

/** Where an event has its request. */
export type H3Event =
  /** Version 1. */
  | { event: object; node: IncomingMessage; web?: undefined }
  /** Version 2; `node` only on a server of Node's. */
  | { event: object; node: IncomingMessage | undefined; web: Request }

/** Looks at an event. */
export function toH3Event(event: object): H3Event {
  // In version 1 `req` is Node's request, too.
  const web = member(event, 'req')
  const node = (path(event, 'node', 'req') ?? path(event, 'runtime', 'node', 'req')) as IncomingMessage | undefined
  if (isWebRequest(web)) return { event, node, web }
  if (node !== undefined) return { event, node }
  throw new NuxtQueueError('NQ_VALIDATION', 'The handler was called with something that is no event of h3 1 or 2.')
}

/** The request of an event without its body. */
export function describeH3({ event, node, web }: H3Event): Omit<WebhookRequest, 'body'> {
  const head = node ? describeNode(node) : describeWeb(web as Request)
  // What a platform says first; Node's is the peer of the socket.
  const addresses = [path(event, 'context', 'clientAddress'), web && path(web, 'context', 'clientAddress')]
  const said = [...addresses, web && path(web, 'ip')].find((ip) => typeof ip === 'string' && ip !== '')
  return said === undefined ? head : { ...head, ip: said as string }
}

function isWebRequest(value: unknown): value is Request {
  return typeof value === 'object' && value !== null && typeof path(value, 'headers', 'get') === 'function'
}

function path(start: object, ...names: string[]): unknown {
  let at: unknown = start
  for (const name of names) {
    if (typeof at !== 'object' || at === null) return undefined
    at = member(at, name)
  }
  return at ?? undefined
}
