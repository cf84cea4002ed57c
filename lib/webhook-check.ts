/**
 * Checks requests as providers sign them, natively.
 */

import type { WebhookAuth } from '../index.js'
import { unwrap } from './errors.js'
import { native } from './native.js'

/** A request without its body. */
export interface CheckedRequest {
  method: string
  /** Without the query. */
  path: string
  /** As it was sent, without its `?`. */
  query: string
  /** As they came; a name may come twice. */
  headers: Array<[string, string]>
  ip?: string
}

/** `id`: the provider's name for it; `key`: the same for each request that is the same delivery. */
export type WebhookVerdict = { accepted: true; id?: string; key?: string } | { accepted: false; reason: string }

/** Whether a request that came at `nowMs` is what `auth` asks for. Any of the secrets may fit. */
export function checkWebhook(
  auth: Omit<WebhookAuth, 'secret' | 'verify'>,
  request: CheckedRequest,
  body: Uint8Array,
  secrets: string[],
  nowMs: number,
): WebhookVerdict {
  return JSON.parse(unwrap(native.checkWebhook(JSON.stringify(auth), JSON.stringify(request), body, secrets, nowMs)))
}

/** What keeps these settings, or these secrets, from working, as sentences. No secret is quoted. */
export function checkWebhookAuth(auth: Omit<WebhookAuth, 'secret' | 'verify'>, secrets: string[]): string[] {
  return native.checkWebhookAuth(JSON.stringify(auth), secrets)
}
