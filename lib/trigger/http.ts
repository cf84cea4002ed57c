/**
 * Requests as callers hand them over, and answers.
 */

import type { WebhookRequest, WebhookResponse } from '../../index.js'
import { checkObject, invalid } from '../query.js'

/** Throws `NQ_VALIDATION` unless it is a request: that is a mistake of the program, not of a sender. */
export function checkRequest(request: WebhookRequest): WebhookRequest {
  const { method, path, headers, query, body, ip } = checkObject(request, 'The request')
  if (typeof method !== 'string') throw invalid('method', method, 'a text such as "POST"')
  if (typeof path !== 'string') throw invalid('path', path, 'the path of the URL')
  checkObject(headers, 'headers')
  if (query !== undefined) checkObject(query, 'query')
  if (!(body instanceof Uint8Array)) throw invalid('body', body, 'the bytes of the body as a Uint8Array')
  if (ip !== undefined && typeof ip !== 'string') throw invalid('ip', ip, 'the address of the sender')
  return request
}

/** The only value of a header, or the first. */
export function headerOf(headers: WebhookRequest['headers'], wanted: string): string | undefined {
  const name = Object.keys(headers).find((header) => header.toLowerCase() === wanted)
  const value = name === undefined ? undefined : headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** Parameters by name, as those of a query. */
export function toParameters(query: Record<string, string | string[]> = {}): URLSearchParams {
  return new URLSearchParams(headerList(query))
}

/** Each header with each of its values. */
export function headerList(headers: WebhookRequest['headers']): Array<[string, string]> {
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => typeof one === 'string')
      .map((one): [string, string] => [name, one]),
  )
}

export function respond(status: number, body: object, headers: Record<string, string> = {}): WebhookResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}
