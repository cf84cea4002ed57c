/** `toH3Handler` on h3 1 and h3 2: over real sockets, and where a platform makes the request. */

import express from 'express'
import {
  createApp,
  eventHandler,
  type H3Event,
  readBody,
  readRawBody,
  toNodeListener,
  toPlainHandler,
  toWebHandler,
  useBase,
} from 'h3'
import { bodyLimit, H3, toNodeHandler as toH3NodeListener } from 'h3-v2'
import { callNodeRequestHandler } from 'node-mock-http'
import { describe, expect, test } from 'vitest'
import { toH3Handler } from '../../index.js'
import { bytes, closeAfterwards, listen, portOf, Recorder, send } from '../support/http.js'
import { describeHandler } from '../support/http-suite.js'
import { until } from '../support/redis.js'
import { Warnings } from '../support/warnings.js'

describeHandler('h3 1', async (triggers, options) => {
  const app = createApp().use(toH3Handler(triggers, options))
  return portOf(await listen(toNodeListener(app)))
})

describeHandler('h3 2', async (triggers, options) => {
  const app = new H3().use(toH3Handler(triggers, options))
  return portOf(await listen(toH3NodeListener(app)))
})

const json = { 'content-type': 'application/json' }
const spaced = '{ "a" : 1.0 }'
const binary = bytes(1000)
const gone = { status: 500, body: '{"error":"raw body needed"}' }

/** Catches warnings until the test is over. */
function catchWarnings(): Warnings {
  const warnings = new Warnings()
  closeAfterwards(() => warnings.stop())
  return warnings
}

describe('h3 1', () => {
  test.each<[string, (event: H3Event) => Promise<unknown>]>([
    ['readBody', readBody],
    ['readRawBody', readRawBody],
  ])('takes the bytes that %s has kept', async (_, read) => {
    const recorder = new Recorder()
    const app = createApp()
      .use(eventHandler(async (event) => void (await read(event))))
      .use(toH3Handler(recorder))
    const port = portOf(await listen(toNodeListener(app)))
    expect(await send(port, { headers: json, body: spaced })).toMatchObject({ status: 200 })
    expect(recorder.bodies.map(String)).toEqual([spaced])
  })

  test('passes on the path that was asked for', async () => {
    const recorder = new Recorder()
    const inner = useBase('/hooks', toH3Handler(recorder))
    const port = portOf(await listen(toNodeListener(createApp().use('/base', useBase('/base', inner)))))
    await send(port, { path: '/base/hooks/a?x=1', body: '{}' })
    expect(recorder.requests).toMatchObject([{ path: '/base/hooks/a?x=1', query: { x: '1' } }])
  })

  test('takes the address that the platform says', async () => {
    const recorder = new Recorder()
    const app = createApp({ onRequest: (event) => void Object.assign(event.context, { clientAddress: '192.0.2.7' }) })
    await send(portOf(await listen(toNodeListener(app.use(toH3Handler(recorder))))), { body: '{}' })
    expect(recorder.requests).toMatchObject([{ ip: '192.0.2.7' }])
  })

  test('says that the bytes are gone behind a parser of another framework', async () => {
    const warnings = catchWarnings()
    const recorder = new Recorder()
    const listener = toNodeListener(createApp().use(toH3Handler(recorder)))
    const port = portOf(await listen(express().use(express.json(), listener)))
    expect(await send(port, { headers: json, body: spaced })).toMatchObject(gone)
    await until(() => warnings.caught.length > 0, 'the warning')
    expect(recorder.requests).toEqual([])
  })

  const forms: Array<[string, unknown, Uint8Array]> = [
    ['a Buffer', binary, binary],
    ['text', 'Zoë', Buffer.from('Zoë')],
    ['a stream', new Blob([new Uint8Array(binary)]).stream(), binary],
    ['nothing', undefined, Buffer.alloc(0)],
    ['null', null, Buffer.alloc(0)],
  ]
  test.each(forms)('takes what a platform calls it with: %s', async (_, body, expected) => {
    const recorder = new Recorder()
    const listener = toNodeListener(createApp().use(toH3Handler(recorder)))
    const headers = { 'X-Signature': ['one', 'two'] }
    const call = { url: '/a?x=1', method: 'POST', headers, body }
    expect(await callNodeRequestHandler(listener as never, call as never)).toMatchObject({ status: 200 })
    expect(recorder.requests).toMatchObject([
      { method: 'POST', path: '/a?x=1', query: { x: '1' }, headers: { 'x-signature': ['one', 'two'] }, ip: undefined },
    ])
    expect(recorder.bodies[0]?.equals(expected)).toBe(true)
  })

  test('has no bytes of what a platform calls it with as an object', async () => {
    const warnings = catchWarnings()
    const recorder = new Recorder()
    const app = createApp().use(toH3Handler(recorder))
    const call = { url: '/', method: 'POST', body: { a: 1 } }
    expect(await callNodeRequestHandler(toNodeListener(app) as never, call as never)).toMatchObject({ status: 500 })
    expect(
      await toPlainHandler(app)({ path: '/', method: 'POST', headers: {}, body: { a: 1 } as never }),
    ).toMatchObject({
      status: 500,
    })
    expect(recorder.requests).toEqual([])
    await until(() => warnings.caught.length > 0, 'the warning')
  })

  test('takes requests of the web', async () => {
    const recorder = new Recorder()
    const handle = toWebHandler(createApp().use(toH3Handler(recorder, { maxBodyBytes: 1000 })))
    const ask = (body: Uint8Array<ArrayBuffer>) =>
      handle(new Request('https://example.com/a?x=1', { method: 'POST', headers: json, body }))
    const answer = await ask(new Uint8Array(binary))
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      ...[200, 'application/json', '{"ok":true}'],
    ])
    expect((await ask(new Uint8Array(1001))).status).toBe(413)
    expect((await handle(new Request('https://example.com/b'))).status).toBe(200)
    expect(recorder.requests).toMatchObject([{ method: 'POST', path: '/a?x=1', headers: json }, { method: 'GET' }])
    expect(recorder.bodies.map((body) => body.equals(binary))).toEqual([true, false])
  })
})

describe('h3 2', () => {
  const ask = (body: BodyInit, headers: Record<string, string> = json) =>
    new Request('https://example.com/a?x=1', { method: 'POST', headers, body, duplex: 'half' } as RequestInit)

  test('takes requests of the web', async () => {
    const recorder = new Recorder()
    const app = new H3().use(toH3Handler(recorder, { maxBodyBytes: 1000 }))
    const answer = await app.fetch(ask(new Uint8Array(binary)))
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      ...[200, 'application/json', '{"ok":true}'],
    ])
    const tooLarge = [
      await app.fetch(ask(new Uint8Array(1001))),
      await app.fetch(ask(new Blob([new Uint8Array(1001)]).stream())),
      await app.fetch(ask('x', { 'content-length': '1001' })),
    ]
    expect(tooLarge.map(({ status }) => status)).toEqual([413, 413, 413])
    expect((await app.fetch(new Request('https://example.com/b'))).status).toBe(200)
    expect(recorder.requests).toMatchObject([
      { method: 'POST', path: '/a?x=1', query: { x: '1' }, headers: json },
      { method: 'GET', path: '/b', query: {} },
    ])
    expect(recorder.bodies.map((body) => body.equals(binary))).toEqual([true, false])
  })

  test('leaves alone who has looked at the body and not read it', async () => {
    const recorder = new Recorder()
    const looks: unknown[] = []
    const app = new H3().use((event) => void looks.push(event.req.body)).use(toH3Handler(recorder))
    const port = portOf(await listen(toH3NodeListener(app)))
    await send(port, { body: binary })
    expect(looks).toHaveLength(1)
    expect(recorder.bodies.map((body) => body.equals(binary))).toEqual([true])
  })

  test('says that the bytes are gone', async () => {
    const warnings = catchWarnings()
    const recorder = new Recorder()
    const app = new H3().use(async (event) => void (await event.req.json())).use(toH3Handler(recorder))
    const reading = new H3().use((event) => void event.req.body?.getReader()).use(toH3Handler(recorder))
    const parsed = express().use(express.json(), toH3NodeListener(new H3().use(toH3Handler(recorder))) as never)
    for (const server of [
      await listen(toH3NodeListener(app)),
      await listen(toH3NodeListener(reading)),
      await listen(parsed),
    ])
      expect(await send(portOf(server), { headers: json, body: spaced })).toMatchObject(gone)
    expect((await app.fetch(ask(spaced))).status).toBe(500)
    expect(recorder.requests).toEqual([])
    await until(() => warnings.caught.length === 3, 'a warning for each handler')
  })

  test('takes what a platform hands over beside the request', async () => {
    const recorder = new Recorder()
    const listener = toH3NodeListener(new H3().use(toH3Handler(recorder)))
    const verify = (request: object, _: unknown, rawBody: Buffer) => void Object.assign(request, { rawBody })
    for (const parser of [express.json({ verify }), express.text({ type: '*/*' }), express.raw({ type: '*/*' })])
      await send(portOf(await listen(express().use(parser, listener as never))), { headers: json, body: spaced })
    expect(recorder.bodies.map(String)).toEqual([spaced, spaced, spaced])
  })

  test('keeps to a lower bound of its own', async () => {
    const recorder = new Recorder()
    const app = new H3().use(bodyLimit(10)).use(toH3Handler(recorder))
    const port = portOf(await listen(toH3NodeListener(app)))
    const headers = { 'transfer-encoding': 'chunked' }
    expect(await send(port, { headers, body: 'x'.repeat(10) })).toMatchObject({ status: 200 })
    expect(await send(port, { headers, body: 'x'.repeat(11) })).toMatchObject({ status: 413 })
    expect(recorder.bodies.map(String)).toEqual(['x'.repeat(10)])
  })

  test('takes the address that the platform says', async () => {
    const recorder = new Recorder()
    const app = new H3().use(toH3Handler(recorder))
    await app.fetch(Object.assign(ask('{}'), { ip: '192.0.2.7' }))
    await app.fetch(Object.assign(ask('{}'), { ip: '192.0.2.7', context: { clientAddress: '192.0.2.8' } }))
    await app.fetch(ask('{}'))
    expect(recorder.requests.map(({ ip }) => ip)).toEqual(['192.0.2.7', '192.0.2.8', undefined])
  })

  test('answers whoever leaves, as nobody listens', async () => {
    const recorder = new Recorder()
    const app = new H3().use(toH3Handler(recorder))
    const failing = new ReadableStream({ pull: (controller) => controller.error(new Error('lost')) })
    expect((await app.fetch(ask(failing))).status).toBe(400)
    expect(recorder.requests).toEqual([])
  })
})

test.each([undefined, {}, { req: {} }, { node: {} }])('%j is no event', async (event) => {
  const warnings = catchWarnings()
  const answer = await toH3Handler(new Recorder())(event as object)
  expect([answer.status, await answer.text()]).toEqual([500, '{"error":"internal error"}'])
  await until(() => warnings.caught.length > 0, 'the warning')
  expect(warnings.caught[0]?.message).toContain('no event of h3')
})
