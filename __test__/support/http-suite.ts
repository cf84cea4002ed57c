/** What a handler for HTTP servers does, whatever the server. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type HttpHandlerOptions, NuxtQueueError, open, type TriggerEngine, type WebhookRequest } from '../../index.js'
import { bytes, closeAfterwards, RawClient, Recorder, send } from './http.js'
import { describeLeaving, describeRefusals, type Start } from './http-refusals.js'
import { until } from './redis.js'
import { Warnings } from './warnings.js'

/** Serves a handler under every path, and gives the port. */
export type Mount = (triggers: Pick<TriggerEngine, 'handleWebhook'>, options?: HttpHandlerOptions) => Promise<number>

const MIB = 1 << 20
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
const text = Buffer.from('{"text":"Käse 🧀, 日本, \\u00e9"}')

/** Runs all that is common. */
export function describeHandler(name: string, mount: Mount): void {
  describe(name, () => {
    const warnings: Warnings[] = []
    beforeEach(() => void warnings.push(new Warnings()))
    afterEach(() => warnings.pop()?.stop())
    const caught = () => warnings[0]?.caught ?? []
    const start: Start = async (options) => {
      const recorder = new Recorder()
      return { recorder, port: await mount(recorder, options) }
    }

    describe('passes on the bytes as they were sent', () => {
      const bodies: Array<[string, Buffer]> = [
        ['text', text],
        ['every byte', everyByte],
        ['the mark of an order of bytes', Buffer.from('\ufeff{}')],
        ['no UTF-8', Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0x00])],
        ['nothing', Buffer.alloc(0)],
        ['one byte', Buffer.from('1')],
        ['a large one', bytes(300_001)],
        ['as much as is read', bytes(MIB)],
      ]
      test.each(bodies)('%s', async (_, body) => {
        const { port, recorder } = await start()
        const types = [
          'application/json',
          'text/plain',
          'application/x-www-form-urlencoded',
          'application/octet-stream',
        ]
        for (const type of types) {
          const headers = { 'content-type': type }
          expect(await send(port, { headers: { ...headers, 'content-length': body.length }, body })).toMatchObject({
            ...{ status: 200, headers: { 'content-type': 'application/json' }, body: '{"ok":true}' },
          })
          expect(await send(port, { headers: { ...headers, 'transfer-encoding': 'chunked' }, body })).toMatchObject({
            status: 200,
          })
        }
        expect(recorder.bodies).toHaveLength(8)
        for (const got of recorder.bodies) expect(got.equals(body)).toBe(true)
      })

      test.each(['with its length', 'without'])('byte by byte, %s', async (how) => {
        const { port, recorder } = await start()
        const client = await RawClient.open(port)
        const isChunked = how === 'without'
        await client.head('/', isChunked ? 'transfer-encoding: chunked' : `content-length: ${text.length}`)
        for (const [at, byte] of text.entries()) {
          expect(recorder.requests, `after ${at} bytes`).toEqual([])
          const piece = Buffer.of(byte)
          await (isChunked ? client.chunk(piece) : client.send(piece))
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        if (isChunked) await client.send('0\r\n\r\n')
        expect((await client.response()).status).toBe(200)
        expect(recorder.bodies[0]?.equals(text)).toBe(true)
      })

      test('of 200 requests at once', async () => {
        const { port, recorder } = await start()
        const sent = Array.from({ length: 200 }, (_, n) => bytes(1 + ((n * 977) % 40_000), n + 1))
        const answers = await Promise.all(sent.map((body, n) => send(port, { path: `/${n}`, body })))
        expect(answers.map(({ status }) => status)).toEqual(sent.map(() => 200))
        expect(recorder.requests).toHaveLength(200)
        for (const { path, body } of recorder.requests) {
          expect(Buffer.from(body).equals(sent[Number(path.slice(1))] as Buffer)).toBe(true)
        }
      })

      test('over a connection that is used again', async () => {
        const { port, recorder } = await start()
        const client = await RawClient.open(port)
        for (const body of ['one', 'two', '']) {
          await client.head('/', `content-length: ${body.length}`)
          await client.send(body)
          expect((await client.response()).status).toBe(200)
        }
        expect(recorder.bodies.map(String)).toEqual(['one', 'two', ''])
      })
    })

    describe('passes on', () => {
      test('method, path, query and address', async () => {
        const { port, recorder } = await start()
        await send(port, { method: 'PUT', path: '/a/b%20c?x=1&y=%C3%A4&z', body: '{}' })
        expect(recorder.requests).toMatchObject([
          { method: 'PUT', path: '/a/b%20c?x=1&y=%C3%A4&z', query: { x: '1', y: 'ä', z: '' }, ip: '127.0.0.1' },
        ])
      })

      test('each value of a header that comes twice', async () => {
        const { port, recorder } = await start()
        const client = await RawClient.open(port)
        await client.head(
          '/',
          'X-Signature: one',
          'x-signature: two',
          'Authorization: a',
          'authorization: b',
          'content-length: 0',
        )
        await client.response()
        expect(recorder.requests[0]?.headers).toMatchObject({
          ...{ 'x-signature': ['one', 'two'], authorization: ['a', 'b'], host: 'test' },
        })
      })

      test('names that objects have of themselves', async () => {
        const { port, recorder } = await start()
        const client = await RawClient.open(port)
        await client.head('/?__proto__=1&constructor=2', '__proto__: a', 'constructor: b', 'content-length: 0')
        await client.response()
        const [{ headers, query = {} } = {} as WebhookRequest] = recorder.requests
        expect(Object.entries(headers)).toEqual(
          expect.arrayContaining([
            ['__proto__', 'a'],
            ['constructor', 'b'],
          ]),
        )
        expect(Object.entries(query)).toEqual([
          ['__proto__', '1'],
          ['constructor', '2'],
        ])
      })

      test.each(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH'])('%s', async (method) => {
        const { port, recorder } = await start()
        recorder.answer = () => ({ status: 405, headers: { allow: 'POST' }, body: '{}' })
        expect(await send(port, { method })).toMatchObject({ status: 405, headers: { allow: 'POST' } })
        expect(recorder.requests).toMatchObject([{ method }])
      })

      test('an answer without a body', async () => {
        const { port, recorder } = await start()
        recorder.answer = () => ({ status: 204, headers: {}, body: '' })
        expect(await send(port, { body: '{}' })).toMatchObject({ status: 204, body: '' })
      })
    })

    describeRefusals(start)
    describeLeaving(start, caught)

    describe('tells the sender to come again, and a warning what failed', () => {
      const hidden = 'what is for operators'
      const cases: Array<[string, Error, number, string]> = [
        ['NQ_UNAVAILABLE', new NuxtQueueError('NQ_UNAVAILABLE', hidden), 503, '{"error":"unavailable"}'],
        ['NQ_TIMEOUT', new NuxtQueueError('NQ_TIMEOUT', hidden), 503, '{"error":"unavailable"}'],
        ['NQ_CLOSED', new NuxtQueueError('NQ_CLOSED', hidden), 503, '{"error":"unavailable"}'],
        ['NQ_CONFIG', new NuxtQueueError('NQ_CONFIG', hidden), 500, '{"error":"internal error"}'],
        ['another error', new TypeError(hidden), 500, '{"error":"internal error"}'],
      ]
      test.each(cases)('%s', async (_, error, status, body) => {
        const { port, recorder } = await start()
        recorder.answer = () => {
          throw error
        }
        const answer = await send(port, { body: '{}' })
        expect(answer).toMatchObject({ status, body })
        expect(answer.headers['retry-after']).toBe(status === 503 ? '5' : undefined)
        await until(() => caught().length > 0, 'the warning')
        expect(caught()).toMatchObject([{ code: 'NQ_WEBHOOK', message: expect.stringContaining(error.message) }])
      })

      test('an answer that can not be sent', async () => {
        const { port, recorder } = await start()
        recorder.answer = () => ({ status: 99, headers: {}, body: '' })
        expect(await send(port, { body: '{}' })).toMatchObject({ status: 500, body: '{"error":"internal error"}' })
        await until(() => caught().length > 0, 'the warning')
      })
    })

    test('brings the answer to an await', async () => {
      const core = await open({ triggers: { secret: 'a long random text' } })
      closeAfterwards(() => core.close())
      const port = await mount(core.triggers)
      core.flows.define({ name: 'ask', entry: { step: 'ask', queue: 'q' }, steps: { ask: { queue: 'q' } } })
      const urls: string[] = []
      await core.worker('q', {
        ask: async (_, ctx) => {
          urls.push(ctx.await.getWebhookUrl())
          return await ctx.await.webhook()
        },
      })
      const { runId } = await core.flows.start('ask')
      await until(async () => (await core.triggers.awaits(runId)).length === 1, 'the await')
      const ask = { path: urls[0] ?? '', headers: { 'content-type': 'application/json' }, body: '{"name":"Zoë"}' }
      expect(await send(port, { ...ask, path: '/api/_triggers/await/other' })).toMatchObject({ status: 404 })
      expect(await send(port, ask)).toMatchObject({ status: 200, body: '{"status":"accepted"}' })
      await until(async () => (await core.flows.status(runId))?.status === 'completed', 'the end')
      expect(await send(port, ask)).toMatchObject({ status: 409 })
      const [completed] = await core.store.query({ stream: `nq:flow:${runId}`, types: ['flow.completed'] })
      expect(completed?.data).toMatchObject({ result: { name: 'Zoë' } })
    })
  })
}
