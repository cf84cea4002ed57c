/** Our verdict on a signed request is that of the provider's own library, whatever is changed. */

import { createHmac } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { checkWebhook, type WebhookAuth, type WebhookProvider, webhookProblems } from '../lib/webhook-check.js'
import { type Change, changes, ownChanges, timedChanges } from './support/signed-changes.js'
import { SENT, type Sent, type Signer, signers } from './support/signed-requests.js'

/** What a library accepts and we reject, with our reason and why. Nothing is the other way round. */
const STRICTER: Record<string, [reason: string, why: string]> = {
  'stripe: it comes too early': ['too-new', "Stripe's page asks for a tolerance; its library looks back only"],
  'stripe: the timestamp, signed with a letter behind': ['malformed-timestamp', 'parseInt passes over it'],
  'stripe: the timestamp, signed with a fraction': ['malformed-timestamp', 'the same'],
  'stripe: the timestamp, signed with a zero before': ['malformed-timestamp', 'the same'],
  'stripe: the timestamp, signed with a sign': ['malformed-timestamp', 'the same'],
  'stripe: the timestamp in milliseconds': ['too-new', 'it lies in the future'],
  "stripe: the signature's header twice": ['ambiguous-header', 'which of the two counts would be a guess'],
  "stripe: the signature's header once more, with garbage": ['ambiguous-header', 'the same'],
  "stripe: the signature's header with an equals sign behind": ['malformed-signature', 'split drops the rest'],
  "stripe: the signature's header with a second timestamp before": ['malformed-timestamp', 'the last one wins there'],
  'stripe: whitespace in the secret, on both sides': ['no-secret', 'no secret of Stripe has any; the library warns'],
  "standard-webhooks: the signature's header twice": ['ambiguous-header', 'as with Stripe'],
  "standard-webhooks: the signature's header once more, with garbage": ['ambiguous-header', 'as with Stripe'],
  'standard-webhooks: the timestamp, signed with a letter behind': ['malformed-timestamp', 'parseInt passes over it'],
  'standard-webhooks: the timestamp, signed with a fraction': ['malformed-timestamp', 'the same'],
  'standard-webhooks: the timestamp, signed with a zero before': ['malformed-timestamp', 'the same'],
  'standard-webhooks: the timestamp, signed with a sign': ['malformed-timestamp', 'the same'],
  "standard-webhooks: the signature's header with a third part": ['malformed-signature', 'split drops the rest'],
  'standard-webhooks: an id with a dot, signed': [
    'malformed-id',
    'the specification forbids it, the library does not look',
  ],
}

/** The same for every provider whose library reads text: bytes that are no UTF-8 all become the same text. */
const REPLACED = 'bytes of the body that are another text, and are replaced by the same'
for (const { provider } of signers) STRICTER[`${provider}: ${REPLACED}`] = ['wrong-signature', 'raw bytes are signed']

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

const BODY = Buffer.from('{"id":"evt_1","amount":1100}')

const authOf = (provider: WebhookProvider): WebhookAuth => ({ type: 'signature', provider })

function check(provider: WebhookProvider, { headers, body, secret, now }: Sent) {
  return checkWebhook(authOf(provider), { method: 'POST', path: '/hook', query: '', headers, body }, [secret], now)
}

async function changed(signer: Signer, { making, after }: Change): Promise<Sent> {
  const { secret } = signer
  const sent = await signer.make({ body: BODY, secret, timestamp: String(SENT), id: 'msg_1', ...making })
  after?.(sent, signer)
  return sent
}

const changesOf = ({ provider }: Signer): Change[] => [
  ...changes,
  ...(provider === 'github' ? [] : timedChanges),
  ...(ownChanges[provider] ?? []),
]

describe.each(signers.map((signer) => [signer.provider, signer] as const))('%s', (provider, signer) => {
  test.each(changesOf(signer).map((change) => [change.name, change] as const))('%s', async (name, change) => {
    const sent = await changed(signer, change)
    vi.setSystemTime(sent.now)
    const accepted = await signer.accepts(sent)
    const verdict = check(provider, sent)
    const stricter = STRICTER[`${provider}: ${name}`]
    if (stricter === undefined) expect(verdict, JSON.stringify(verdict)).toMatchObject({ accepted })
    else expect([accepted, verdict]).toEqual([true, { accepted: false, reason: stricter[0] }])
  })
})

test('what is stricter is among what is tried, and not everything is rejected', async () => {
  const tried = signers.flatMap((signer) => changesOf(signer).map(({ name }) => `${signer.provider}: ${name}`))
  expect(tried).toHaveLength(new Set(tried).size)
  expect(tried).toEqual(expect.arrayContaining(Object.keys(STRICTER)))
  for (const signer of signers) {
    const sent = await Promise.all(changesOf(signer).map((change) => changed(signer, change)))
    const verdicts = sent.map((each) => check(signer.provider, each).accepted)
    expect(new Set(verdicts)).toEqual(new Set([true, false]))
  }
})

test('the bytes that came are what is signed, even if they are no text', () => {
  const body = Buffer.from([0x7b, 0xff, 0x00, 0x7d])
  const secret = 'secret'
  const mac = createHmac('sha256', secret).update(body).digest('hex')
  const sent: Sent = { headers: [['x-hub-signature-256', `sha256=${mac}`]], body, secret, now: 0 }
  expect(check('github', sent).accepted).toBe(true)
})

test("Slack's published request", () => {
  const body = Buffer.from(
    'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
  )
  const sent: Sent = {
    headers: [
      ['X-Slack-Request-Timestamp', '1531420618'],
      ['X-Slack-Signature', 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503'],
    ],
    body,
    secret: '8f742231b10e8888abcd99yyyzzz85a5',
    now: 1_531_420_618_000,
  }
  expect(check('slack', sent)).toEqual({ accepted: true, key: expect.stringMatching(/^digest:[0-9a-f]{64}$/) })
  expect(check('slack', { ...sent, now: sent.now + 301_000 })).toEqual({ accepted: false, reason: 'too-old' })
  expect(check('slack', { ...sent, secret: 'other' })).toEqual({ accepted: false, reason: 'wrong-signature' })
})

test("Shopify's published computation", () => {
  const [secret, body] = ['hush', Buffer.from('{"id":1,"title":"Ärmel"}')]
  const mac = createHmac('sha256', secret).update(body).digest('base64')
  const headers: Sent['headers'] = [
    ['X-Shopify-Hmac-Sha256', mac],
    ['X-Shopify-Webhook-Id', 'b54557e4'],
  ]
  const sent: Sent = { headers, body, secret, now: 0 }
  expect(check('shopify', sent)).toMatchObject({ accepted: true, id: 'b54557e4' })
  expect(check('shopify', { ...sent, headers: [['X-Shopify-Hmac-Sha256', mac.toLowerCase()]] })).toEqual({
    accepted: false,
    reason: 'wrong-signature',
  })
})

test('settings and secrets that can not work say why, and quote no secret', () => {
  expect(webhookProblems(authOf('stripe'), ['whsec_1'])).toEqual([])
  expect(webhookProblems({ type: 'ip', allow: ['10.0.0.0/33'] })).toEqual([expect.stringContaining('10.0.0.0/33')])
  const [problem, ...more] = webhookProblems({ type: 'basic' }, ['user:fine', 's3cret'])
  expect(more).toEqual([])
  expect(problem).toMatch(/colon/)
  expect(problem).not.toMatch(/s3cret/)
  // @ts-expect-error unknown members are refused
  expect(webhookProblems({ type: 'basic', secret: 's3cret' })).toEqual([expect.stringContaining('unknown field')])
})

test('what is no request is an error', () => {
  const request = { method: 'POST', path: '/', query: '', headers: [], body: Buffer.alloc(0) }
  // @ts-expect-error no such type
  expect(() => checkWebhook({ type: 'hmac' }, request, [], 0)).toThrow(/NQ_VALIDATION|malformed/)
  // @ts-expect-error headers are pairs
  expect(() => checkWebhook({ type: 'custom' }, { ...request, headers: ['a'] }, [], 0)).toThrow(/malformed/)
  for (const now of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
    expect(checkWebhook({ type: 'custom' }, request, [], now)).toEqual({ accepted: true })
  }
})
