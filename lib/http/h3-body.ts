/**
 * The body of a request to h3, which keeps it in different places: version 1 beside Node's request, version 2 in a
 * request of the web.
 */

import type { IncomingMessage } from 'node:http'
import { type Body, chunksOf, collect } from './body.js'
import type { H3Event } from './h3-event.js'
import { isParsed, member, readHanded } from './handed-body.js'
import { hasBody, isAborted, readHandedBody, readNodeBody } from './node-body.js'

/** Where `readRawBody` and `readBody` of h3 1 keep the bytes that they have read. */
const KEPT = Symbol.for('h3RawBody')

/** Reads the body, up to `most` bytes. */
export async function readH3Body(from: H3Event, most: number): Promise<Body> {
  if (from.web !== undefined) return await readWeb(from.web, from.node, most)
  return await readKept(from.event, from.node, most)
}

async function readKept(event: object, node: IncomingMessage, most: number): Promise<Body> {
  const before = [member(event, '_requestBody'), requestBody(member(event, 'web')), member(node, KEPT)]
  for (const handed of before) {
    const body = await readHanded(handed, most, 'utf8')
    if (body !== undefined) return body
    if (isParsed(handed)) return { refused: 'gone' }
  }
  return await readNodeBody(node, most)
}

function requestBody(web: unknown): unknown {
  const request = typeof web === 'object' && web !== null ? member(web, 'request') : undefined
  return typeof request === 'object' && request !== null ? member(request, 'body') : undefined
}

async function readWeb(web: Request, node: IncomingMessage | undefined, most: number): Promise<Body> {
  if (web.bodyUsed) return { refused: 'gone' }
  const handed = node && (await readHandedBody(node, most))
  if (handed !== undefined) return handed
  const chunks = web.body ? chunksOf(web.body) : { next: async () => ({ done: true }) }
  if (chunks === undefined) return { refused: 'gone' }
  // Only a server of Node's has a connection that is ours to close.
  const tooLarge: Body = { refused: 'too large', ...(node && node.httpVersionMajor < 2 && { rest: chunks }) }
  if (Number(web.headers.get('content-length')) > most) return tooLarge
  try {
    const body = await collect(chunks, most)
    return 'rest' in body ? tooLarge : body
  } catch (error) {
    return whyNot(error, web, node)
  }
}

/** Why a stream failed: h3 gives one that fails, too, if Node's has been read before, or its own bound is lower. */
function whyNot(error: unknown, web: Request, node: IncomingMessage | undefined): Body {
  if (error instanceof Error && member(error, 'status') === 413) return { refused: 'too large' }
  if (node === undefined || isAborted(node) || web.signal.aborted) return { refused: 'aborted' }
  return hasBody(node) ? { refused: 'gone' } : { bytes: new Uint8Array(0) }
}
