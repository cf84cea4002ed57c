/** What a handler for HTTP servers refuses, and who leaves before it can answer. */

import { Agent } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { HttpHandlerOptions } from '../../index.js'
import { bytes, RawClient, type Recorder, send } from './http.js'
import { until } from './redis.js'

/** Serves a handler, until the test is over. */
export type Start = (options?: HttpHandlerOptions) => Promise<{ recorder: Recorder; port: number }>

const MIB = 1 << 20

/** Bodies that are too large. */
export function describeRefusals(start: Start): void {
  describe('refuses with 413, and closes', () => {
    const tooLarge = { status: 413, headers: { connection: 'close', 'content-type': 'application/json' } }

    test('what says that it is too large, before it comes', async () => {
      const { port, recorder } = await start()
      const client = await RawClient.open(port)
      await client.head('/', `content-length: ${MIB + 1}`)
      expect(await client.response()).toMatchObject({ ...tooLarge, body: '{"error":"more than 1048576 bytes"}' })
      await client.closed
      expect(recorder.requests).toEqual([])
    })

    test.each(['with its length', 'without'])('a body of one byte too many, %s', async (how) => {
      const { port, recorder } = await start()
      const body = bytes(MIB + 1)
      const headers: Record<string, string | number> =
        how === 'without' ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }
      expect(await send(port, { headers, body })).toMatchObject(tooLarge)
      expect(recorder.requests).toEqual([])
    })

    test('a body over the bound that is asked for', async () => {
      const { port, recorder } = await start({ maxBodyBytes: 3 })
      expect(await send(port, { body: 'abc' })).toMatchObject({ status: 200 })
      expect(await send(port, { body: 'abcd' })).toMatchObject(tooLarge)
      expect(recorder.bodies.map(String)).toEqual(['abc'])
    })

    test('tiny pieces', async () => {
      const { port, recorder } = await start({ maxBodyBytes: 1000 })
      const client = await RawClient.open(port)
      await client.head('/', 'transfer-encoding: chunked')
      for (let n = 0; n <= 1000; n++) await client.chunk(Buffer.of(n))
      await client.send('0\r\n\r\n')
      expect(await client.response()).toMatchObject(tooLarge)
      await client.closed
      expect(recorder.requests).toEqual([])
    })

    test('a sender that reads when all is sent, and still gets the answer', async () => {
      const { port, recorder } = await start()
      const client = await RawClient.open(port)
      client.socket.pause()
      const piece = bytes(MIB)
      await client.head('/', `content-length: ${8 * MIB}`)
      for (let n = 0; n < 8; n++) await client.send(piece)
      client.socket.resume()
      expect(await client.response()).toMatchObject(tooLarge)
      await client.closed
      expect(recorder.requests).toEqual([])
    })

    test('a sender that never ends', async () => {
      const { port, recorder } = await start({ maxBodyBytes: 100_000 })
      const client = await RawClient.open(port)
      await client.head('/', 'transfer-encoding: chunked')
      const piece = bytes(10_000)
      while (!client.isClosed) {
        await client.chunk(piece)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      expect(await client.response()).toMatchObject(tooLarge)
      expect(recorder.requests).toEqual([])
    })

    test('and takes nothing in it for a request', async () => {
      const { port, recorder } = await start({ maxBodyBytes: 10 })
      const client = await RawClient.open(port)
      const hidden = 'POST /hidden HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}'
      await client.head('/', `content-length: ${2 * hidden.length}`)
      await client.send(hidden + hidden)
      expect(await client.response()).toMatchObject(tooLarge)
      await client.closed
      expect(client.rest).toBe('')
      expect(recorder.requests).toEqual([])
    })

    test('so that a client opens another connection', async () => {
      const { port, recorder } = await start({ maxBodyBytes: 10 })
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      const statuses: number[] = []
      for (const body of ['one', 'x'.repeat(100_000), 'two']) statuses.push((await send(port, { body, agent })).status)
      agent.destroy()
      expect(statuses).toEqual([200, 413, 200])
      expect(recorder.bodies.map(String)).toEqual(['one', 'two'])
    })
  })
}

/** Connections that break. */
export function describeLeaving(start: Start, caught: () => Error[]): void {
  describe('a sender that leaves', () => {
    const cases: Array<[string, string, string]> = [
      ['with a length', 'content-length: 100', 'half'],
      ['without', 'transfer-encoding: chunked', '4\r\nhalf\r\n'],
      ['within a chunk', 'transfer-encoding: chunked', 'ff\r\nhalf'],
      ['before the first byte', 'content-length: 100', ''],
    ]
    test.each(cases)('in the middle is forgotten: %s', async (_, header, part) => {
      const { port, recorder } = await start()
      for (let n = 0; n < 5; n++) {
        const client = await RawClient.open(port)
        await client.head('/', header)
        await client.send(part)
        if (n % 2) client.socket.resetAndDestroy()
        else client.socket.destroy()
      }
      expect((await send(port, { body: 'next' })).status).toBe(200)
      expect(recorder.bodies.map(String)).toEqual(['next'])
      expect(caught()).toEqual([])
    })

    test('before the answer does no harm', async () => {
      const { port, recorder } = await start()
      let go = () => {}
      const gate = new Promise<void>((resolve) => {
        go = resolve
      })
      const client = await RawClient.open(port)
      recorder.answer = async () => {
        await gate
        return { status: 200, headers: {}, body: '{}' }
      }
      await client.head('/', 'content-length: 2')
      await client.send('{}')
      await until(() => recorder.requests.length === 1, 'the request')
      client.socket.resetAndDestroy()
      await client.closed
      go()
      expect((await send(port, { body: 'next' })).status).toBe(200)
      expect(caught()).toEqual([])
    })
  })
}
