/** HTTP servers and clients of tests: real sockets, and bytes as they are. */

import {
  type Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http'
import { type AddressInfo, connect, type Server as NetServer, type Socket } from 'node:net'
import { afterEach } from 'vitest'
import type { WebhookRequest, WebhookResponse } from '../../index.js'

const opened: Array<() => unknown> = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((close) => close()))
})

/** Closes something when the test is over. */
export function closeAfterwards(close: () => unknown): void {
  opened.push(close)
}

/** Stands for the triggers: keeps what it is given, and answers as it is told. */
export class Recorder {
  readonly requests: WebhookRequest[] = []
  answer: (request: WebhookRequest) => WebhookResponse | Promise<WebhookResponse> = () => ({
    ...{ status: 200, headers: { 'content-type': 'application/json' }, body: '{"ok":true}' },
  })

  async handleWebhook(request: WebhookRequest): Promise<WebhookResponse> {
    this.requests.push(request)
    return await this.answer(request)
  }

  /** The bodies, in the order in which they came. */
  get bodies(): Buffer[] {
    return this.requests.map(({ body }) => Buffer.from(body))
  }
}

/** Listens on a free port until the test is over. */
export async function listen(listener: RequestListener): Promise<Server> {
  return await listenWith(createServer(listener))
}

/** The same for a server of its own. */
export async function listenWith<S extends NetServer>(server: S): Promise<S> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server
}

/** Where a server listens. */
export function portOf(server: NetServer): number {
  return (server.address() as AddressInfo).port
}

/** Different in every place, so that a piece in the wrong one shows. */
export function bytes(length: number, seed = 1): Buffer {
  const filled = Buffer.alloc(length)
  for (let at = 0, n = seed; at < length; at++) {
    n = (n * 1103515245 + 12345) & 0x7fffffff
    filled[at] = n >> 16
  }
  return filled
}

/** Sends a request with Node's client, and gives the response and what came with it. */
export async function send(
  port: number,
  { method = 'POST', path = '/', headers = {}, body, agent = false }: SendOptions = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  return await new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, headers, agent }, async (response) => {
      const pieces: Buffer[] = []
      for await (const piece of response) pieces.push(piece)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces).toString() })
    })
    request.on('error', reject).end(body)
  })
}

interface SendOptions {
  method?: string
  path?: string
  headers?: Record<string, string | string[] | number>
  body?: Uint8Array | string
  agent?: Agent | false
}

/** A response as it came over the wire. */
export interface RawResponse {
  status: number
  headers: Record<string, string>
  body: string
}

/** A client that says what it wants, byte by byte. */
export class RawClient {
  readonly closed: Promise<void>
  #text = ''
  #isClosed = false
  #look = () => {}

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      this.#text += data.toString('latin1')
      this.#look()
    })
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true
        this.#look()
        resolve()
      })
    })
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    opened.push(() => socket.destroy())
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new RawClient(socket)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Sends, and comes back once the system has taken it. */
  async send(data: string | Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(data, () => resolve()))
  }

  /** Sends the head of a POST. */
  async head(path: string, ...headers: string[]): Promise<void> {
    await this.send([`POST ${path} HTTP/1.1`, 'host: test', ...headers, '', ''].join('\r\n'))
  }

  /** Sends a piece of a body without a length. */
  async chunk(piece: Uint8Array): Promise<void> {
    await this.send(Buffer.concat([Buffer.from(`${piece.byteLength.toString(16)}\r\n`), piece, Buffer.from('\r\n')]))
  }

  /** The next whole response. Fails if the connection is closed before. */
  async response(): Promise<RawResponse> {
    for (;;) {
      const response = this.#take()
      if (response) return response
      if (this.#isClosed) throw new Error(`closed without a response: ${this.#text}`)
      await new Promise<void>((resolve) => {
        this.#look = resolve
      })
    }
  }

  /** What came and was not taken yet. */
  get rest(): string {
    return this.#text
  }

  #take(): RawResponse | undefined {
    const at = this.#text.indexOf('\r\n\r\n')
    if (at < 0) return undefined
    const [first = '', ...lines] = this.#text.slice(0, at).split('\r\n')
    const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(/:\s*/, 2) as [string, string]))
    const begin = at + 4
    const found = headers['content-length']
      ? whole(this.#text, begin, Number(headers['content-length']))
      : chunked(this.#text, begin)
    if (!found) return undefined
    this.#text = this.#text.slice(found.end)
    return { status: Number(first.split(' ')[1]), headers, body: found.body }
  }
}

function whole(text: string, begin: number, length: number) {
  const end = begin + length
  return text.length < end ? undefined : { body: text.slice(begin, end), end }
}

function chunked(text: string, begin: number) {
  let body = ''
  for (let at = begin; ; ) {
    const line = text.indexOf('\r\n', at)
    if (line < 0) return undefined
    const length = Number.parseInt(text.slice(at, line), 16)
    const end = line + 2 + length + 2
    if (text.length < end) return undefined
    if (length === 0) return { body, end }
    body += text.slice(line + 2, line + 2 + length)
    at = end
  }
}
