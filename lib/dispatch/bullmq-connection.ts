/**
 * The connections of BullMQ: the store's address as ioredis wants it, and warnings about trouble with it.
 */

import type { RedisOptions } from 'bullmq'
import type { StoreOptions } from '../../index.js'
import { NuxtQueueError } from '../errors.js'

const LONGEST_RETRY_MS = 2000
const WARN_EVERY_MS = 60_000

/** Options of a connection to where the store is. They hold the password: they are for BullMQ only. */
export function connectionOf(redis: StoreOptions['redis'] = {}): RedisOptions {
  const { host, port, socket, username, password, db, tls } = redis
  const fromUrl = redis.url === undefined ? {} : readUrl(redis.url)
  return {
    ...fromUrl,
    ...defined({ host, port, path: socket, username, password, db }),
    ...(tls ? { tls: tls === true ? {} : { ...tls } } : {}),
    // Both families: names that lead to IPv6 only, too.
    family: 0,
    // BullMQ's commands wait for a lost connection to come back; who calls doesn't wait for ever.
    maxRetriesPerRequest: null,
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 10), LONGEST_RETRY_MS),
  }
}

/** Reads what the store reads: `redis://[user[:password]@]host[:port][/db]`, `rediss://…`, `unix:///path`. */
function readUrl(text: string): RedisOptions {
  // The message of a URL error may hold the URL.
  if (!URL.canParse(text)) throw new NuxtQueueError('NQ_CONFIG', 'redis.url is malformed.')
  const url = new URL(text)
  const isSocket = url.protocol.includes('unix')
  const db = isSocket ? url.searchParams.get('db') : url.pathname.slice(1)
  return {
    ...(isSocket ? { path: decodeURIComponent(url.pathname) } : { host: url.hostname.replace(/^\[|\]$/g, '') }),
    ...(url.port ? { port: Number(url.port) } : {}),
    ...(url.username ? { username: decodeURIComponent(url.username) } : {}),
    ...(url.password ? { password: decodeURIComponent(url.password) } : {}),
    ...(db ? { db: Number(db) } : {}),
    ...(/^(rediss|valkeys):$/.test(url.protocol) ? { tls: {} } : {}),
  }
}

function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>
}

/** Tells about lost connections, and doesn't flood the log while they are lost. */
export class ConnectionWarnings {
  #last = Number.NEGATIVE_INFINITY

  warn(error: Error): void {
    const now = performance.now()
    if (now - this.#last < WARN_EVERY_MS) return
    this.#last = now
    process.emitWarning(`BullMQ: ${error.message}; it goes on by itself when Redis answers again.`, {
      type: 'NuxtQueueWarning',
      code: 'NQ_UNAVAILABLE',
    })
  }
}
