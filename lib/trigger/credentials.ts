/**
 * What of a request may be kept. Credentials never are: neither where they belong nor where a sender puts them by mistake.
 */

import type { WebhookAuth } from '../../index.js'
import type { Arrival } from './ledger.js'

/** Headers that say what a request is. */
const TELLING = ['content-type', 'user-agent', 'x-github-event', 'x-shopify-topic', 'x-shopify-shop-domain']

/** What parameters are called that hold credentials. */
const CREDENTIAL = /token|key|secret|passw|auth|credential|signature/i

/** Shorter secrets are looked for as whole values only, as they are part of anything. */
const SHORT = 8

/** The headers of these names, and those that say what a request is, unless a secret stands in them. */
export function keptHeaders(
  headers: Array<[string, string]>,
  names: string[],
  secrets: string[] = [],
): Record<string, string> {
  const wanted = new Set([...TELLING, ...names])
  const holds = holder(secrets)
  const found = headers.filter(([name, value]) => wanted.has(name.toLowerCase()) && !holds(value))
  return Object.fromEntries(found.map(([name, value]) => [name.toLowerCase(), value.slice(0, 4096)]))
}

/** The parameters of a query without the API key, and without those that hold a secret. */
export function withoutSecrets(query: URLSearchParams, auth: WebhookAuth | undefined, secrets: string[] = []) {
  const holds = holder(secrets)
  const kept = [...query].filter(([name, value]) => name !== auth?.query && !holds(name) && !holds(value))
  return new URLSearchParams(kept)
}

/**
 * What is kept of a delivery that is not known to be genuine: what is needed to check it again. Its credentials may be
 * anybody's; those in a query are told by their names.
 */
export function ofUnknown({ query = {}, ...arrival }: Arrival, canCheckAgain: boolean): Arrival {
  const kept = Object.entries(query).filter(([name]) => canCheckAgain && !CREDENTIAL.test(name))
  return { ...arrival, ...(kept.length > 0 && { query: Object.fromEntries(kept) }) }
}

/** Says whether a text holds one of these secrets, in a form in which it may be sent. */
function holder(secrets: string[]): (text: string) => boolean {
  const forms = secrets.flatMap((secret) => {
    const parts = [secret, secret.replace(/^whsec_/, ''), secret.slice(secret.indexOf(':') + 1)]
    return [...parts, Buffer.from(secret).toString('base64')].filter((form) => form !== '')
  })
  return (text) => forms.some((form) => text === form || (form.length >= SHORT && text.includes(form)))
}
