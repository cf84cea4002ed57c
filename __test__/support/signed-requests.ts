/** Requests as Stripe, GitHub and Standard Webhooks send them, and what their own libraries say of them. */

import { createHmac } from 'node:crypto'
import { sign, verify } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'
import type { WebhookProvider } from '../../lib/webhook-check.js'

/** When requests are sent, in seconds. Whoever asks a library sets the clock to `now`. */
export const SENT = 1_700_000_000

/** A request, the secret that its receiver has, and when it comes. */
export interface Sent {
  headers: [name: string, value: string][]
  body: Buffer
  secret: string
  now: number
}

/** What goes into a request. */
export interface Making {
  body: Buffer
  secret: string
  timestamp: string
  id: string
}

/** A provider: how it signs, and whether its library accepts a request. */
export interface Signer {
  provider: WebhookProvider
  secret: string
  otherSecret: string
  /** The headers of its signature, and of its timestamp if that is one of its own. */
  signatureHeader: string
  timestampHeader?: string
  /** The MAC as it is written. */
  encoding: 'hex' | 'base64'
  make(making: Making): Sent | Promise<Sent>
  accepts(sent: Sent): Promise<boolean>
}

const stripe = new Stripe('sk_test_none')

/** Headers as Node hands them to whoever calls a library: names in lower case, values of one name joined. */
function joined(sent: Sent): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of sent.headers) {
    const known = headers[name.toLowerCase()]
    headers[name.toLowerCase()] = known === undefined ? value : `${known}, ${value}`
  }
  return headers
}

async function succeeds(check: () => unknown): Promise<boolean> {
  try {
    return (await check()) !== false
  } catch {
    return false
  }
}

const start = (secret: string, body: Buffer): Sent => ({ headers: [], body, secret, now: SENT * 1000 })

export const signers: Signer[] = [
  {
    provider: 'stripe',
    secret: 'whsec_7Gkm2Tn4Xw',
    otherSecret: 'whsec_other',
    signatureHeader: 'Stripe-Signature',
    encoding: 'hex',
    make({ body, secret, timestamp }) {
      const made = stripe.webhooks.generateTestHeaderString({
        payload: body.toString(),
        secret,
        timestamp: Number.parseInt(timestamp, 10),
      })
      // The library signs the number that it reads; the header has the text.
      const header = made.replace(/^t=[^,]*/, `t=${timestamp}`)
      return { ...start(secret, body), headers: [['Stripe-Signature', header]] }
    },
    accepts: (sent) =>
      succeeds(() => {
        const header = joined(sent)['stripe-signature'] ?? ''
        stripe.webhooks.constructEvent(sent.body, header, sent.secret, 300, undefined, sent.now)
      }),
  },
  {
    provider: 'github',
    secret: "It's a Secret to Everybody",
    otherSecret: 'another',
    signatureHeader: 'X-Hub-Signature-256',
    encoding: 'hex',
    async make({ body, secret, id }) {
      const signature = body.length === 0 ? emptySignature(secret) : await sign(secret, body.toString())
      const headers: Sent['headers'] = [
        ['X-Hub-Signature-256', signature],
        ['X-GitHub-Delivery', id],
      ]
      return { ...start(secret, body), headers }
    },
    accepts: (sent) =>
      succeeds(() => verify(sent.secret, sent.body.toString(), joined(sent)['x-hub-signature-256'] ?? '')),
  },
  {
    provider: 'standard-webhooks',
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    otherSecret: 'whsec_plJ3nmyCDGBKInavdOK15jsl',
    signatureHeader: 'webhook-signature',
    timestampHeader: 'webhook-timestamp',
    encoding: 'base64',
    make({ body, secret, timestamp, id }) {
      const signature = new Webhook(secret).sign(id, new Date(Number.parseInt(timestamp, 10) * 1000), body)
      const headers: Sent['headers'] = [
        ['webhook-id', id],
        ['webhook-timestamp', timestamp],
        ['webhook-signature', signature],
      ]
      return { ...start(secret, body), headers }
    },
    accepts: (sent) => succeeds(() => new Webhook(sent.secret).verify(sent.body, joined(sent))),
  },
]

/** GitHub's library refuses to sign nothing. */
const emptySignature = (secret: string) => `sha256=${createHmac('sha256', secret).digest('hex')}`
