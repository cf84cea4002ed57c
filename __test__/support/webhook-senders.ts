/** Requests to webhooks of every kind, as senders make them who know a secret. */

import { createHmac } from 'node:crypto'
import type { WebhookAuth, WebhookRequest } from '../../index.js'

/** A kind of webhook. */
export interface Sender {
  name: string
  auth: WebhookAuth
  /** The secret in a form that this kind takes. */
  secretOf(text: string): string
  /** What a sender that knows the secret adds to a request. */
  sign(secret: string, body: string, seconds: number): Pick<WebhookRequest, 'headers' | 'query'>
}

const mac = (secret: string | Buffer, text: string, encoding: 'hex' | 'base64' = 'hex', algorithm = 'sha256') =>
  createHmac(algorithm, secret).update(text).digest(encoding)

const base64 = (text: string) => Buffer.from(text).toString('base64')

const plain = (text: string) => text

/** Standard Webhooks signs with the bytes that the secret is the Base64 of. */
const whsec = (text: string) => `whsec_${base64(text)}`

const standard = (prefix: string) => (secret: string, body: string, seconds: number) => {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  return {
    headers: {
      [`${prefix}-id`]: 'msg_1',
      [`${prefix}-timestamp`]: String(seconds),
      [`${prefix}-signature`]: `v1,${mac(key, `msg_1.${seconds}.${body}`, 'base64')}`,
    },
  }
}

const provided = (provider: WebhookAuth['provider'], sign: Sender['sign'], secretOf = plain): Sender => ({
  ...{ name: String(provider), auth: { type: 'signature', provider: provider as 'stripe' }, secretOf, sign },
})

export const SENDERS: Sender[] = [
  provided('stripe', (secret, body, seconds) => ({
    headers: { 'stripe-signature': `t=${seconds},v1=${mac(secret, `${seconds}.${body}`)}` },
  })),
  provided('github', (secret, body) => ({
    headers: { 'x-hub-signature-256': `sha256=${mac(secret, body)}`, 'x-github-delivery': 'd-1' },
  })),
  provided('slack', (secret, body, seconds) => ({
    headers: {
      'x-slack-request-timestamp': String(seconds),
      'x-slack-signature': `v0=${mac(secret, `v0:${seconds}:${body}`)}`,
    },
  })),
  provided('standard-webhooks', standard('webhook'), whsec),
  provided('svix', standard('svix'), whsec),
  provided('shopify', (secret, body) => ({
    headers: { 'x-shopify-hmac-sha256': mac(secret, body, 'base64'), 'x-shopify-webhook-id': 's-1' },
  })),
  {
    name: 'signature',
    auth: {
      ...{ type: 'signature', header: 'X-Signature', algorithm: 'sha512', encoding: 'base64', prefix: 'v1=' },
      ...{ payload: '{timestamp}.{id}.{body}', timestampHeader: 'X-Sent', idHeader: 'X-Id' },
    },
    secretOf: plain,
    sign: (secret, body, seconds) => ({
      headers: {
        'x-signature': `v1=${mac(secret, `${seconds}.i-1.${body}`, 'base64', 'sha512')}`,
        ...{ 'x-sent': String(seconds), 'x-id': 'i-1' },
      },
    }),
  },
  {
    ...{ name: 'bearer', auth: { type: 'bearer', idHeader: 'x-id' }, secretOf: plain },
    sign: (secret) => ({ headers: { authorization: `Bearer ${secret}` } }),
  },
  {
    ...{ name: 'apikey', auth: { type: 'apikey' }, secretOf: plain },
    sign: (secret) => ({ headers: { 'x-api-key': secret } }),
  },
  {
    ...{ name: 'apikey-header', auth: { type: 'apikey', header: 'X-Own-Key' }, secretOf: plain },
    sign: (secret) => ({ headers: { 'x-own-key': secret } }),
  },
  {
    ...{ name: 'apikey-query', auth: { type: 'apikey', query: 'key' }, secretOf: plain },
    sign: (secret) => ({ headers: {}, query: { key: secret, page: '2' } }),
  },
  {
    ...{ name: 'basic', auth: { type: 'basic' }, secretOf: (text) => `user:${text}` },
    sign: (secret) => ({ headers: { authorization: `Basic ${base64(secret)}` } }),
  },
]

/** Credentials where they do not belong: in other headers, as another scheme, in the query. */
export function misplaced({ auth }: Sender, secret: string): Array<Pick<WebhookRequest, 'headers' | 'query'>> {
  const schemes = [secret, `Bearer ${secret}`, `Basic ${base64(secret)}`, `Token ${secret}`]
  return [
    ...['cookie', 'x-api-key', (auth.type === 'apikey' && auth.header) || 'x-auth-token'].map((name) => ({
      headers: { [name]: secret },
    })),
    ...schemes.map((text) => ({ headers: { authorization: text, 'proxy-authorization': text } })),
    ...['key', 'token', 'access_token', 'api_key'].map((name) => ({ headers: {}, query: { [name]: secret } })),
  ]
}

/** The secret of a webhook in places that are kept. */
export function confused(secret: string): Array<Pick<WebhookRequest, 'headers' | 'query'>> {
  const signatures = ['stripe-signature', 'x-hub-signature-256', 'x-slack-signature', 'webhook-signature']
  const others = [
    'svix-signature',
    'x-shopify-hmac-sha256',
    'x-signature',
    'user-agent',
    'x-github-event',
    'content-type',
  ]
  return [
    ...[...signatures, ...others].flatMap((name) =>
      [secret, `sha256=${secret}`].map((text) => ({ headers: { [name]: text } })),
    ),
    ...[{ page: secret }, { [secret]: '' }].map((query) => ({ headers: {}, query })),
  ]
}
