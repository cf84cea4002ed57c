/** A connection to a server that can go silent, as networks do. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { RedisServer } from './redis.js'

/** Passes on what comes, in both directions. */
export class Wire {
  readonly #sockets = new Set<Socket>()
  #isFrozen = false

  private constructor(
    readonly server: Server,
    target: RedisServer,
  ) {
    server.on('connection', (near) => {
      const far = connect({ port: target.port, host: '127.0.0.1' })
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on('data', (data) => to.write(data)).on('error', () => {})
        from.on('close', () => to.destroy())
        if (this.#isFrozen) from.pause()
        this.#sockets.add(from)
      }
    })
  }

  /** Opens one to a server; the test cuts it. */
  static async to(target: RedisServer): Promise<Wire> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Wire(server, target)
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  /** From now on nothing passes; connections stay open. */
  freeze(): void {
    this.#isFrozen = true
    for (const socket of this.#sockets) socket.pause()
  }

  /** What was held passes, and all that comes. */
  thaw(): void {
    this.#isFrozen = false
    for (const socket of this.#sockets) socket.resume()
  }

  cut(): void {
    this.server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
