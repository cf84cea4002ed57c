/** `toNodeHandler` on Node's own servers and on Express, over real sockets. */

import { createServer } from 'node:http'
import { type ClientHttp2Session, connect, constants, createServer as createHttp2Server } from 'node:http2'
import express, { type RequestHandler } from 'express'
import { describe, expect, test } from 'vitest'
import { toH3Handler, toNodeHandler } from '../index.js'
import { refuses } from './support/failure.js'
import { bytes, closeAfterwards, listen, listenWith, portOf, RawClient, Recorder, send } from './support/http.js'
import { describeHandler } from './support/http-suite.js'
import { until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

describeHandler('node:http', async (triggers, options) => portOf(await listen(toNodeHandler(triggers, options))))

describeHandler('Express, before the body parsers', async (triggers, options) => {
  const app = express().disable('x-powered-by')
  app.use(toNodeHandler(triggers, options))
  app.use(express.json(), express.urlencoded(), express.text(), express.raw())
  return portOf(await listen(app))
})

describe('toNodeHandler', () => {
  const json = { 'content-type': 'application/json' }
  const spaced = '{ "a" : 1.0 }'

  /** Express with something in front of the handler. */
  async function behind(...before: RequestHandler[]) {
    const recorder = new Recorder()
    const handler = toNodeHandler(recorder)
    return { recorder, port: portOf(await listen(express().use(...before, handler))) }
  }
  const handing =
    (members: object): RequestHandler =>
    (request, _, next) => {
      request.on('end', () => next(void Object.assign(request, members))).resume()
    }

  test('says once what to do if the body was parsed before', async () => {
    const warnings = new Warnings()
    closeAfterwards(() => warnings.stop())
    const { port, recorder } = await behind(express.json())
    for (const body of [spaced, '{"getReader":{},"pipe":{},"then":{},"length":7,"byteLength":7}']) {
      expect(await send(port, { headers: json, body })).toMatchObject({
        ...{ status: 500, body: '{"error":"raw body needed"}' },
      })
    }
    expect(recorder.requests).toEqual([])
    await until(() => warnings.caught.length > 0, 'the warning')
    expect(warnings.caught).toMatchObject([
      { code: 'NQ_RAW_BODY', message: expect.stringContaining('before the body parser') },
    ])
    // What the parser leaves alone is read.
    expect(await send(port, { headers: { 'content-type': 'text/plain' }, body: 'plain' })).toMatchObject({
      status: 200,
    })
    expect(await send(port, { headers: { ...json, 'content-length': 0 } })).toMatchObject({ status: 200 })
    expect(await send(port, { method: 'GET' })).toMatchObject({ status: 200 })
    expect(recorder.bodies.map(String)).toEqual(['plain', '', ''])
    expect(warnings.caught).toHaveLength(1)
  })

  test('takes the bytes that a parser kept', async () => {
    const verify = (request: object, _: unknown, rawBody: Buffer) => void Object.assign(request, { rawBody })
    const { port, recorder } = await behind(express.json({ verify }))
    await send(port, { headers: json, body: spaced })
    expect(recorder.bodies.map(String)).toEqual([spaced])
  })

  test.each([
    ['raw', express.raw({ type: '*/*' })],
    ['text', express.text({ type: '*/*' })],
  ])('takes what express.%s gives', async (_, parser) => {
    const { port, recorder } = await behind(parser)
    await send(port, { headers: json, body: spaced })
    expect(recorder.bodies.map(String)).toEqual([spaced])
  })

  const binary = bytes(1000)
  const forms: Array<[string, object, Uint8Array]> = [
    ['rawBody as a Buffer', { rawBody: binary, body: { parsed: true } }, binary],
    ['rawBody as a Uint8Array', { rawBody: new Uint8Array(binary), body: 'text' }, binary],
    ['rawBody as text', { rawBody: spaced, body: {} }, Buffer.from(spaced)],
    ['body as a Buffer', { body: binary }, binary],
    [
      'body as a part of an ArrayBuffer',
      { body: new Uint8Array(binary.buffer, binary.byteOffset, 7) },
      binary.subarray(0, 7),
    ],
    ['body as an ArrayBuffer', { body: new Uint8Array(binary).buffer }, binary],
    ['body as text', { body: 'Zoë' }, Buffer.from('Zoë')],
    ['no text', { body: '' }, Buffer.alloc(0)],
    ['base64', { body: binary.toString('base64'), isBase64Encoded: true }, binary],
    ['no base64', { body: 'YQ==', isBase64Encoded: false }, Buffer.from('YQ==')],
    ['a stream of the web', { body: new Blob([binary]).stream() }, binary],
    ['a promise', { rawBody: Promise.resolve(binary) }, binary],
  ]
  test.each(forms)('takes what a platform hands over: %s', async (_, members, expected) => {
    const { port, recorder } = await behind(handing(members))
    expect(await send(port, { body: 'read before' })).toMatchObject({ status: 200 })
    expect(recorder.bodies).toHaveLength(1)
    expect(recorder.bodies[0]?.equals(expected)).toBe(true)
  })

  test.each<[string, object]>([
    ['bytes', { body: bytes(11) }],
    ['text', { body: 'x'.repeat(11) }],
    ['base64', { body: bytes(11).toString('base64'), isBase64Encoded: true }],
    ['a stream', { body: new Blob([bytes(11)]).stream() }],
  ])('refuses too much of what a platform hands over: %s', async (_, members) => {
    const recorder = new Recorder()
    const app = express().use(handing(members), toNodeHandler(recorder, { maxBodyBytes: 10 }))
    expect(await send(portOf(await listen(app)), { body: 'read before' })).toMatchObject({ status: 413 })
    expect(recorder.requests).toEqual([])
  })

  test('answers 400 if the platform fails to hand the body over', async () => {
    const failing = new ReadableStream({ start: (controller) => controller.error(new Error('lost')) })
    const { port, recorder } = await behind(handing({ body: failing }))
    expect(await send(port, { body: '{}' })).toMatchObject({ status: 400 })
    expect(recorder.requests).toEqual([])
  })

  test('reads the request if what stands beside it is no body', async () => {
    const { port, recorder } = await behind((request, _, next) => {
      request.body = { parsed: 'by a platform that leaves the request as it is' }
      Object.defineProperty(request, 'rawBody', {
        get: () => {
          throw new SyntaxError('not JSON')
        },
      })
      next()
    })
    await send(port, { body: spaced })
    expect(recorder.bodies.map(String)).toEqual([spaced])
  })

  test('reads a request that gives text', async () => {
    const { port, recorder } = await behind((request, _, next) => next(void request.setEncoding('latin1')))
    await send(port, { body: binary })
    expect(recorder.bodies[0]?.equals(binary)).toBe(true)
  })

  test('passes on the path that was asked for', async () => {
    const recorder = new Recorder()
    const app = express().use('/base', express.Router().use('/hooks', toNodeHandler(recorder)))
    await send(portOf(await listen(app)), { path: '/base/hooks/a?x=1' })
    const client = await RawClient.open(portOf(await listen(toNodeHandler(recorder))))
    await client.head('http://other.example/a/b?x=1', 'content-length: 0')
    await client.response()
    expect(recorder.requests).toMatchObject([
      { path: '/base/hooks/a?x=1', query: { x: '1' } },
      { path: '/a/b?x=1', query: { x: '1' } },
    ])
  })

  test('takes the headers of a request that has no raw ones', async () => {
    const { port, recorder } = await behind((request, _, next) => {
      request.rawHeaders = []
      next()
    })
    await send(port, { headers: json, body: '{}' })
    expect(recorder.requests[0]?.headers).toMatchObject(json)
  })

  test('says nothing where somebody has answered before', async () => {
    const recorder = new Recorder()
    let settled = 0
    const server = await listen((request, response) => {
      recorder.answer = () => {
        response.writeHead(504).end('late')
        return { status: 200, headers: {}, body: '{}' }
      }
      void toNodeHandler(recorder)(request, response).then(() => settled++)
    })
    expect(await send(portOf(server), { body: '{}' })).toMatchObject({ status: 504, body: 'late' })
    expect(settled).toBe(1)
  })

  test('serves HTTP/2, where one request too large leaves the others alone', async () => {
    const recorder = new Recorder()
    const server = await listenWith(createHttp2Server(toNodeHandler(recorder, { maxBodyBytes: 2000 }) as never))
    const session = connect(`http://127.0.0.1:${portOf(server)}`)
    closeAfterwards(() => session.destroy())
    const [small, large, second] = await Promise.all([
      post(session, binary),
      post(session, bytes(500_000)),
      post(session, binary),
    ])
    expect([small, large, second]).toEqual([200, 413, 200])
    expect(await post(session, binary)).toBe(200)
    expect(recorder.bodies.map((body) => body.equals(binary))).toEqual([true, true, true])
    expect(recorder.requests[0]).toMatchObject({
      method: 'POST',
      path: '/a?x=1',
      headers: { 'x-id': '7' },
      ip: '127.0.0.1',
    })
    expect(Object.keys(recorder.requests[0]?.headers ?? {}).filter((name) => name.startsWith(':'))).toEqual([])
  })

  async function post(session: ClientHttp2Session, body: Buffer): Promise<number> {
    const stream = session.request({ ':method': 'POST', ':path': '/a?x=1', 'x-id': '7' })
    // The rest of a body that is refused may be turned down.
    stream.on('error', (error) => expect(stream.rstCode, String(error)).toBe(constants.NGHTTP2_NO_ERROR))
    stream.end(body)
    return await new Promise((resolve) => stream.once('response', (headers) => resolve(Number(headers[':status']))))
  }
})

describe.each([
  ['toNodeHandler', toNodeHandler],
  ['toH3Handler', toH3Handler],
])('%s', (_, toHandler) => {
  test.each<[string, unknown, unknown]>([
    ['maxBodyBytes', new Recorder(), { maxBodyBytes: -1 }],
    ['maxBodyBytes', new Recorder(), { maxBodyBytes: 1.5 }],
    ['maxBodyBytes', new Recorder(), { maxBodyBytes: '1mb' }],
    ['"maxBytes"', new Recorder(), { maxBytes: 1 }],
    ['options', new Recorder(), null],
    ['triggers', {}, {}],
    ['triggers', undefined, {}],
  ])('checks what it is given: %s', async (name, triggers, options) => {
    await refuses(() => toHandler(triggers as never, options as never), 'NQ_VALIDATION', name)
  })
})

test('a server of its own is needed by nobody', async () => {
  const recorder = new Recorder()
  const server = await listenWith(createServer({ requireHostHeader: false }, toNodeHandler(recorder)))
  const client = await RawClient.open(portOf(server))
  await client.send('POST /old HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}')
  await client.closed
  expect(client.rest).toContain('200 OK')
  expect(recorder.bodies.map(String)).toEqual(['{}'])
})
