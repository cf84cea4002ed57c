/**
 * The body of a request to Node's HTTP server, wherever a framework or a platform left it.
 */

import type { IncomingMessage } from 'node:http'
import { type Body, collect } from './body.js'
import { isParsed, member, readHanded } from './handed-body.js'

/** Reads the body of a request, up to `most` bytes. */
export async function readNodeBody(request: IncomingMessage, most: number): Promise<Body> {
  return (await readHandedBody(request, most)) ?? (await readSocket(request, most))
}

/** The body that a platform or a parser of raw bodies put beside the request, if there is one. */
export async function readHandedBody(request: IncomingMessage, most: number): Promise<Body | undefined> {
  const encoding = member(request, 'isBase64Encoded') === true ? 'base64' : 'utf8'
  const rawBody = await readHanded(member(request, 'rawBody'), most, encoding)
  return rawBody ?? (await readHanded(member(request, 'body'), most, encoding))
}

/** Whether the request says that it has a body. */
export function hasBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  const length = headers['content-length']
  if (length !== undefined) return Number(length) > 0
  return headers['transfer-encoding'] !== undefined || httpVersionMajor > 1
}

/** Whether the sender left before all was read. */
export function isAborted(request: IncomingMessage): boolean {
  return request.destroyed && !request.complete
}

async function readSocket(request: IncomingMessage, most: number): Promise<Body> {
  if (request.readableDidRead || request.readableEnded) {
    const isGone = hasBody(request) || isParsed(member(request, 'body'))
    return isGone ? { refused: 'gone' } : { bytes: new Uint8Array(0) }
  }
  // It is never told to return, so that the request is not destroyed, and the answer with it.
  const chunks = request[Symbol.asyncIterator]()
  const body = await readUpTo(chunks, request, most)
  // Streams of HTTP/2 end one by one: there the connection goes on.
  if ('rest' in body && request.httpVersionMajor > 1) return { refused: body.refused }
  return body
}

async function readUpTo(chunks: AsyncIterator<unknown>, request: IncomingMessage, most: number): Promise<Body> {
  if (Number(request.headers['content-length']) > most) return { refused: 'too large', rest: chunks }
  try {
    return await collect(chunks, most, request.readableEncoding ?? undefined)
  } catch {
    return { refused: 'aborted' }
  }
}
