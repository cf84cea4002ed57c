/** What can be changed of a signed request: by mistake, by a proxy on its way, or by someone who means harm. */

import { type Making, SENT, type Sent, type Signer } from './signed-requests.js'

/** A change; `making` changes what is signed, `after` what was signed. */
export interface Change {
  name: string
  making?: Partial<Making>
  after?: (sent: Sent, signer: Signer) => void
}

/** Replaces the value of a header, or the whole list of its values. */
function set(sent: Sent, name: string, change: (value: string) => string | string[]): void {
  sent.headers = sent.headers.flatMap(([known, value]): Sent['headers'] => {
    if (known !== name) return [[known, value]]
    return [change(value)].flat().map((changed) => [known, changed])
  })
}

/** Changes the MAC and leaves what stands before it. */
const mac = (name: string, change: (mac: string) => string): Change => ({
  name: `the MAC ${name}`,
  after: (sent, signer) => set(sent, signer.signatureHeader, (value) => value.replace(/[^=,]+=*$/, change)),
})

/** Changes the header of the signature. */
const header = (name: string, change: (value: string) => string | string[]): Change => ({
  name: `the signature's header ${name}`,
  after: (sent, signer) => set(sent, signer.signatureHeader, change),
})

const body = (name: string, change: (body: Buffer) => Buffer): Change => ({
  name: `the body ${name}`,
  after: (sent) => {
    sent.body = change(sent.body)
  },
})

const later = (name: string, seconds: number): Change => ({
  name,
  after: (sent) => {
    sent.now += seconds * 1000
  },
})

const recode = (text: string, from: BufferEncoding, to: BufferEncoding) => Buffer.from(text, from).toString(to)

/** For all providers. */
export const changes: Change[] = [
  { name: 'nothing' },
  {
    name: 'the secret of the receiver',
    after: (sent, { otherSecret }) => Object.assign(sent, { secret: otherSecret }),
  },
  body('has another byte', (given) => Buffer.from(given.toString().replace('1', '2'))),
  body('has a byte more', (given) => Buffer.concat([given, Buffer.from(' ')])),
  body('has a byte less', (given) => given.subarray(0, -1)),
  body('is formatted anew', (given) => Buffer.from(JSON.stringify(JSON.parse(given.toString()), null, 2))),
  body('is empty', () => Buffer.alloc(0)),
  { name: 'nothing of a body that is not ASCII', making: { body: Buffer.from('{"name":"Zoë","price":"1 €"}') } },
  {
    name: 'bytes of the body that are another text, and are replaced by the same',
    making: { body: Buffer.from('{"name":"\ufffd"}') },
    after: (sent) => {
      sent.body = Buffer.from(sent.body.toString('latin1').replace('ï¿½', '\xff'), 'latin1')
    },
  },
  { name: 'nothing of an empty body', making: { body: Buffer.alloc(0) } },
  { name: 'names of headers to lower case', after: (sent) => names(sent, (name) => name.toLowerCase()) },
  { name: 'names of headers to upper case', after: (sent) => names(sent, (name) => name.toUpperCase()) },
  { name: 'the order of the headers', after: (sent) => void sent.headers.reverse() },
  { name: 'a header more', after: (sent) => void sent.headers.unshift(['X-Forwarded-For', '203.0.113.1']) },
  mac('in upper case', (given) => given.toUpperCase()),
  mac('with another first character', (given) => (given[0] === '1' ? '2' : '1') + given.slice(1)),
  mac('without its last character', (given) => given.slice(0, -1)),
  mac('with a character more', (given) => `${given}0`),
  mac('with zeros in its place', (given) => given.replace(/[^=]/g, '0')),
  mac('as Base64 of its hex', (given) => Buffer.from(given).toString('base64')),
  mac('in hex for Base64, or the other way', (given) =>
    given.length === 64 ? recode(given, 'hex', 'base64') : recode(given, 'base64', 'hex'),
  ),
  mac('with a space before it', (given) => ` ${given}`),
  header('with a space before', (value) => ` ${value}`),
  header('with a space behind', (value) => `${value} `),
  header('with a line break behind', (value) => `${value}\n`),
  header('empty', () => ''),
  header('missing', () => []),
  header('twice', (value) => [value, value]),
  header('once more, with garbage', (value) => [value, 'garbage']),
  header('with garbage in its place', () => 'garbage'),
]

function names(sent: Sent, change: (name: string) => string): void {
  sent.headers = sent.headers.map(([name, value]) => [change(name), value])
}

/** For those that sign a timestamp. */
export const timedChanges: Change[] = [
  later('it comes at the end of the tolerance', 300),
  later('it comes too late', 301),
  later('it comes at the beginning of the tolerance', -300),
  later('it comes too early', -301),
  later('it comes a year too late', 31_536_000),
  { name: 'the timestamp, signed with a letter behind', making: { timestamp: `${SENT}a` } },
  { name: 'the timestamp, signed with a fraction', making: { timestamp: `${SENT}.5` } },
  { name: 'the timestamp, signed with a zero before', making: { timestamp: `0${SENT}` } },
  { name: 'the timestamp, signed with a sign', making: { timestamp: `+${SENT}` } },
  { name: 'the timestamp in milliseconds', making: { timestamp: `${SENT}000` } },
  timestamp('raised by one', (value) => String(Number(value) + 1)),
  timestamp('negative', (value) => `-${value}`),
  timestamp('empty', () => ''),
  timestamp('a word', () => 'now'),
  timestamp('a date', () => new Date(SENT * 1000).toISOString()),
]

function timestamp(name: string, change: (value: string) => string): Change {
  return {
    name: `the timestamp ${name}`,
    after: (sent, { signatureHeader, timestampHeader }) => {
      if (timestampHeader !== undefined) set(sent, timestampHeader, change)
      else set(sent, signatureHeader, (value) => value.replace(/t=([^,]*)/, (_, given: string) => `t=${change(given)}`))
    },
  }
}

const zeros = '0'.repeat(64)

/** For one provider. */
export const ownChanges: Partial<Record<Signer['provider'], Change[]>> = {
  stripe: [
    header('with its parts in another order', (value) => value.split(',').reverse().join(',')),
    header('with a wrong signature before', (value) => value.replace(',v1', `,v1=${zeros},v1`)),
    header('with a wrong signature behind', (value) => `${value},v1=${zeros}`),
    header('with two wrong signatures', (value) => value.replace(/v1=.*/, `v1=${zeros},v1=${zeros}`)),
    header('with a malformed signature before', (value) => value.replace(',v1', ',v1=x,v1')),
    header('with another version beside', (value) => `${value},v0=${zeros}`),
    header('with another version in its place', (value) => value.replace('v1=', 'v0=')),
    header('with a version in upper case', (value) => value.replace('v1=', 'V1=')),
    header('with unknown parts', (value) => `a,b=c,,${value},=`),
    header('with spaces behind the commas', (value) => value.replaceAll(',', ', ')),
    header('with an equals sign behind', (value) => `${value}=x`),
    header('with a second timestamp before', (value) => `t=1,${value}`),
    header('with a second timestamp behind', (value) => `${value},t=1`),
    header('without a timestamp', (value) => value.replace(/^t=\d+,/, '')),
    { name: 'whitespace in the secret, on both sides', making: { secret: 'whsec_1\n' } },
  ],
  github: [
    header('without its prefix', (value) => value.replace('sha256=', '')),
    header('with its prefix in upper case', (value) => value.replace('sha256', 'SHA256')),
    header('with the prefix of another algorithm', (value) => value.replace('sha256', 'sha1')),
    header('with its prefix twice', (value) => `sha256=${value}`),
    { name: 'the id of the delivery', after: (sent) => set(sent, 'X-GitHub-Delivery', () => 'another') },
    { name: 'the id of the delivery is missing', after: (sent) => set(sent, 'X-GitHub-Delivery', () => []) },
    { name: 'nothing of a secret that is not ASCII', making: { secret: 'Geheimnis für alle' } },
  ],
  'standard-webhooks': [
    header('with a wrong signature before', (value) => `v1,${'A'.repeat(43)}= ${value}`),
    header('with a wrong signature behind', (value) => `${value} v1,${'A'.repeat(43)}=`),
    header('with two wrong signatures', () => `v1,${'A'.repeat(43)}= v1,${'B'.repeat(43)}=`),
    header('with another version beside', (value) => `v1a,hnO3f9T8 ${value}`),
    header('with another version in its place', (value) => value.replace('v1,', 'v2,')),
    header('without its version', (value) => value.replace('v1,', '')),
    header('with two spaces between', (value) => `v1,${'A'.repeat(43)}=  ${value}`),
    header('with a comma between', (value) => `v1,${'A'.repeat(43)}=,${value}`),
    header('with a third part', (value) => `${value},x`),
    header('without its padding', (value) => value.replaceAll('=', '')),
    { name: 'the id', after: (sent) => set(sent, 'webhook-id', () => 'msg_2') },
    { name: 'the id is missing', after: (sent) => set(sent, 'webhook-id', () => []) },
    { name: 'the id is empty', after: (sent) => set(sent, 'webhook-id', () => '') },
    { name: 'the id is there twice', after: (sent) => set(sent, 'webhook-id', (value) => [value, value]) },
    { name: 'an id with a dot, signed', making: { id: 'msg.1' } },
    { name: 'the bare secret', making: { secret: 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' } },
    { name: 'a secret without padding', making: { secret: 'whsec_c2VjcmV0IQ' } },
  ],
}
