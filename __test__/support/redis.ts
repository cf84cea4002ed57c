/** Redis servers for tests; see `scripts/lib/redis-server.mjs` for what they can do. */

import { Redis } from 'ioredis'
import { type RedisOptions, RedisServer } from '../../scripts/lib/redis-server.mjs'

export { type RedisOptions, RedisServer }

/** Starts a server and waits until it answers; the test ends it with `stop()`. */
export const startRedis = (options?: RedisOptions): Promise<RedisServer> => RedisServer.start(options)

/**
 * Sends one command over a connection of its own and returns the reply as ioredis decodes it.
 *
 * @example await command(server, 'XLEN', 'nq:flow:1')
 */
export async function command(
  server: RedisServer,
  name: string,
  ...args: Array<string | number | Buffer>
): Promise<unknown> {
  const client = connect(server)
  try {
    return await client.call(name, ...args)
  } finally {
    client.disconnect()
  }
}

/** An ioredis client of a server, which fails at once instead of trying for ever. The caller disconnects it. */
export function connect(server: RedisServer): Redis {
  const client = new Redis(server.url, { maxRetriesPerRequest: 0, retryStrategy: () => null })
  // A lost connection rejects the command that was sent; without a listener it would be printed besides.
  client.on('error', () => {})
  return client
}

/** Waits until a condition holds; for what happens in another process and announces itself to nobody. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
