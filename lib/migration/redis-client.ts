/**
 * A connection through ioredis, for what the store has no command for. It is loaded when it is needed.
 */

import type { Redis } from 'ioredis'
import type { StoreOptions } from '../../index.js'
import { connectionOf, type Link } from '../dispatch/bullmq-connection.js'
import { NuxtQueueError } from '../errors.js'

/** How long a command may take, with connecting. */
const TIMEOUT_MS = 10_000

/** Commands of ioredis. An idle connection does not keep Node alive; a command under way does. */
export class RedisClient {
  readonly #redis: StoreOptions['redis']
  readonly #link: Link = { isOver: false }
  #client: Promise<Redis> | undefined

  constructor(redis: StoreOptions['redis']) {
    this.#redis = redis
  }

  /** Sends a command. */
  async call<T>(name: string, ...args: Array<string | number>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const message = `Redis has not answered ${name} within ${TIMEOUT_MS} ms.`
      timer = setTimeout(() => reject(new NuxtQueueError('NQ_TIMEOUT', message)), TIMEOUT_MS)
    })
    try {
      const client = await this.#connected()
      return (await Promise.race([client.call(name, ...args), late])) as T
    } catch (error) {
      throw toFailure(name, error)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends the connection; what waits fails. */
  async close(): Promise<void> {
    this.#link.isOver = true
    const client = await this.#client?.catch(() => undefined)
    client?.disconnect()
  }

  async #connected(): Promise<Redis> {
    if (this.#link.isOver) throw new NuxtQueueError('NQ_CLOSED', 'The connection to Redis was closed.')
    this.#client ??= this.#open()
    try {
      return await this.#client
    } catch (error) {
      this.#client = undefined
      throw error
    }
  }

  async #open(): Promise<Redis> {
    const { Redis } = await load()
    const client = new Redis({ ...connectionOf(this.#redis, this.#link), maxRetriesPerRequest: 20 })
    // Commands fail with it.
    client.on('error', () => {})
    client.on('connect', () => (client as unknown as { stream?: { unref(): void } }).stream?.unref())
    return client
  }
}

async function load(): Promise<Pick<typeof import('ioredis'), 'Redis'>> {
  try {
    return await import('ioredis')
  } catch (cause) {
    const message =
      'Old state on Redis is read through ioredis, which cannot be loaded; install it: npm install ioredis'
    throw new NuxtQueueError('NQ_CONFIG', message, { cause })
  }
}

function toFailure(command: string, error: unknown): NuxtQueueError {
  if (error instanceof NuxtQueueError) return error
  const { name, message } = error as Error
  const code = name === 'ReplyError' ? 'NQ_BACKEND' : 'NQ_UNAVAILABLE'
  // The error itself holds the command, with the values in it.
  return new NuxtQueueError(code, `Redis failed at ${command}: ${message}`, { cause: new Error(message) })
}
