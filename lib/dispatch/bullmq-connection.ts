/**
 * The connections of BullMQ: the store's address as ioredis wants it, and warnings about trouble with it.
 */

import type { Queue, RedisOptions, Worker } from 'bullmq'
import type { StoreOptions } from '../../index.js'
import { NuxtQueueError } from '../errors.js'

const LONGEST_RETRY_MS = 1000
const WARN_EVERY_MS = 60_000

/** Whether connections that get lost are still wanted back. */
export interface Link {
  isOver: boolean
}

/**
 * Options of a connection to where the store is. They hold the password: they are for BullMQ only.
 *
 * Once the link is over, a connection that is lost ends and fails what waits for it: that is how BullMQ's loops end
 * without a server.
 */
export function connectionOf(redis: StoreOptions['redis'] = {}, link: Link = { isOver: false }): RedisOptions {
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
    retryStrategy: (times: number) => (link.isOver ? null : Math.min(50 * 2 ** Math.min(times, 10), LONGEST_RETRY_MS)),
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

/** What of an ioredis client is used. */
interface Client {
  status: string
  stream?: { unref(): void }
  on(event: 'connect', listener: () => void): void
  connect(): Promise<void>
  disconnect(): void
}

/** The clients behind a queue or a worker, as soon as they are connected. */
function clientsOf(owner: Queue | Worker): Array<Promise<Client>> {
  // They are the backend's from BullMQ 6 on, the owner's before.
  const home = (owner.getBackend?.() ?? owner) as unknown as {
    client: Promise<Client>
    blockingClient?: Promise<Client>
    blockingConnection?: { client: Promise<Client> }
  }
  const clients = [home.client, home.blockingClient ?? home.blockingConnection?.client]
  return clients.filter((client) => client !== undefined)
}

/** A connection on which nobody waits for anything is no reason for the process to stay. */
export async function letNodeEnd(queue: Queue): Promise<void> {
  for (const connected of clientsOf(queue)) {
    // That it failed is told by an event of the queue.
    const client = await connected.catch(() => undefined)
    client?.on('connect', () => client.stream?.unref())
    client?.stream?.unref()
  }
}

/**
 * Lets a worker end when its link is over. Up to some 6.x BullMQ tries again without a pause what fails for want of a
 * connection while it closes, which freezes the process; by any other failure it ends.
 */
export function letWorkerEnd(worker: Worker, link: Link): void {
  type Attempt = () => Promise<unknown>
  const tries = worker as unknown as { retryIfFailed?(attempt: Attempt, options: object): Promise<unknown> }
  const retryIfFailed = tries.retryIfFailed
  if (!retryIfFailed) return
  const once = async (attempt: Attempt) => {
    try {
      return await attempt()
    } catch (error) {
      throw link.isOver ? new Error('The worker was closed while Redis did not answer.') : error
    }
  }
  tries.retryIfFailed = (attempt, options) => retryIfFailed.call(worker, () => once(attempt), options)
}

/**
 * Ends connections that BullMQ waits for in vain. One that was disconnected between two attempts never tells that it
 * ended, until it fails once more.
 */
export function cutOff(owner: Queue | Worker): void {
  const cut = async (connected: Promise<Client>) => {
    const client = await connected
    if (client.status === 'reconnecting') await client.connect().catch(() => {})
    client.disconnect()
  }
  for (const client of clientsOf(owner)) cut(client).catch(() => {})
}

/** Tells about lost connections, and doesn't flood the log while they are lost. */
export class ConnectionWarnings {
  #last = Number.NEGATIVE_INFINITY

  warn(error: Error): void {
    const now = performance.now()
    if (now - this.#last < WARN_EVERY_MS) return
    this.#last = now
    process.emitWarning(`BullMQ reports: ${error.message}. It goes on by itself as soon as it can.`, {
      type: 'NuxtQueueWarning',
      code: 'NQ_DISPATCH',
    })
  }
}
