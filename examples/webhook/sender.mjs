/** What GitHub does: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries. */

import { createHmac, randomUUID } from 'node:crypto'

/** A function that signs a payload, sends it, and gives the answer. */
export function sender(url, secret) {
  return async (payload, key = secret) => {
    const body = JSON.stringify(payload)
    const headers = {
      'content-type': 'application/json',
      'x-github-event': 'push',
      'x-github-delivery': randomUUID(),
      'x-hub-signature-256': `sha256=${createHmac('sha256', key).update(body).digest('hex')}`,
    }
    const response = await fetch(url, { method: 'POST', headers, body })
    const { status, reason, error } = /** @type {Record<string, string>} */ (await response.json())
    return [response.status, status ?? error, reason].filter((part) => part !== undefined).join(' ')
  }
}
