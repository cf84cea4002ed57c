/** A way to a Redis server that shuts before a write: what was sent until then happens, and nothing after it. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { gate } from './inbox.js'
import type { RedisServer } from './redis.js'

const WRITE = /^(x(add|del|trim)|z(add|rem)|eval(sha)?|fcall|set|h(set|del)|del|unlink|p?expire)$/i

/** A command as it is on its way. */
interface Command {
  bytes: Buffer
  words: string[]
}

/** Passes on what comes, command by command, until it shuts; connections stay open then. */
export class Valve {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #shut = gate<string>()
  /** The writes since it was set, each as its command and its key. */
  writes: string[] = []
  #before = Number.POSITIVE_INFINITY
  #isShut = false

  private constructor(server: Server, target: RedisServer) {
    this.#server = server
    server.on('connection', (near) => this.#join(near, connect({ port: target.port, host: '127.0.0.1' })))
  }

  static async to(target: RedisServer): Promise<Valve> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Valve(server, target)
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Counts writes anew, from 1 on, and shuts before this one; without a number never. */
  set(before = Number.POSITIVE_INFINITY): void {
    this.writes = []
    this.#before = before
  }

  /** The write that it has shut before, as soon as it has. */
  async shut(timeoutMs = 20_000): Promise<string> {
    return await new Promise((resolve, reject) => {
      const message = () =>
        `waited ${timeoutMs} ms in vain for write ${this.#before}; so far: ${this.writes.join(', ')}`
      const timer = setTimeout(() => reject(new Error(message())), timeoutMs)
      void this.#shut.opened.then(resolve).finally(() => clearTimeout(timer))
    })
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(near: Socket, far: Socket): void {
    const pieces = new Commands()
    near.on('data', (data) => {
      for (const command of pieces.take(data)) if (this.#passes(command)) far.write(command.bytes)
    })
    far.on('data', (data) => near.write(data))
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.setNoDelay(true)
      socket.on('error', () => {}).on('close', () => other.destroy())
      this.#sockets.add(socket)
    }
  }

  #passes({ words: [name = '', ...words] }: Command): boolean {
    if (this.#isShut) return false
    if (!WRITE.test(name)) return true
    const isScript = /^(eval|fcall)/i.test(name)
    const write = `${name.toUpperCase()} ${isScript ? words[2] : words[0]}`
    // Signs of life come when they want.
    if (write.endsWith(' nq:registry')) return true
    this.#isShut = this.writes.length + 1 >= this.#before
    if (this.#isShut) this.#shut.open(write)
    else this.writes.push(write)
    return !this.#isShut
  }
}

/** Commands from the bytes of a connection, which come in any pieces. */
class Commands {
  #bytes = Buffer.alloc(0)

  /** Those that are complete now. */
  take(data: Buffer): Command[] {
    this.#bytes = Buffer.concat([this.#bytes, data])
    const commands: Command[] = []
    for (let found = this.#first(); found !== undefined; found = this.#first()) {
      this.#bytes = this.#bytes.subarray(found.bytes.length)
      commands.push(found)
    }
    return commands
  }

  /** The first command, if it is complete. */
  #first(): Command | undefined {
    const words: string[] = []
    let at = 0
    const number = () => {
      const end = this.#bytes.indexOf('\r\n', at)
      if (end < 0) return undefined
      const found = Number(this.#bytes.toString('latin1', at + 1, end))
      at = end + 2
      return found
    }
    const count = number()
    if (count === undefined) return undefined
    for (let n = 0; n < count; n++) {
      const length = number()
      if (length === undefined || at + length + 2 > this.#bytes.length) return undefined
      words.push(this.#bytes.toString('latin1', at, at + Math.min(length, 200)))
      at += length + 2
    }
    return { bytes: this.#bytes.subarray(0, at), words }
  }
}
