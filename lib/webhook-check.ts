/**
 * Whether requests of providers are genuine. The rules are the core's; here they get types.
 */

import type * as surface from '../index.js'
import { unwrap } from './errors.js'
import { native } from './native.js'

/** Whose signatures they are. */
export type WebhookProvider = NonNullable<surface.WebhookAuth['provider']>

/** How requests to an endpoint are checked, without what stays in the process. */
export type WebhookAuth = Omit<surface.WebhookAuth, 'secret' | 'verify'>

/** A request as it came. */
export interface ReceivedRequest {
  method: string
  /** Without the query. */
  path: string
  /** As it was sent; may be empty. */
  query: string
  /** In their order; a name may come twice. */
  headers: [name: string, value: string][]
  /** The bytes that came, not what was parsed of them. */
  body: Uint8Array
  /** The address of the socket's peer. */
  ip?: string
}

/** What tells a delivery from others. */
export interface WebhookDelivery {
  /** The provider's id of it, to be shown. */
  id?: string
  /** The same for every delivery of the same thing; without one a repetition can't be told. */
  key?: string
}

/** What a check came to. The reason is for the record, never for the sender. */
export type WebhookVerdict = ({ accepted: true } & WebhookDelivery) | { accepted: false; reason: string }

/** Whether a request that came at `now` (milliseconds) is what `auth` asks for. Any of the secrets may fit. */
export function checkWebhook(
  auth: WebhookAuth,
  { body, ...request }: ReceivedRequest,
  secrets: string[],
  now: number,
): WebhookVerdict {
  return JSON.parse(unwrap(native.checkWebhook(JSON.stringify(auth), JSON.stringify(request), body, secrets, now)))
}

/** All that keeps these settings, and these secrets, from working, as sentences that never quote a secret. */
export function webhookProblems(auth: WebhookAuth, secrets: string[] = []): string[] {
  return native.checkWebhookAuth(JSON.stringify(auth), secrets)
}
