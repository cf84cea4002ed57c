// The baseline on Redis: an event store that works the way the original module does, with ioredis.
// An append is XADD, then PUBLISH of the entry id, each awaited. A read is XRANGE, parsed here.
// A subscriber gets an id by pub/sub and fetches that entry.

import { Redis } from 'ioredis'
import { toFields, toRecord } from './record.mjs'

const READ_LIMIT = 1_000_000

export class BaselineRedisStore {
  #redis
  #subscriber
  #handlers = new Map()

  /** @param {number} port of a Redis on 127.0.0.1 */
  constructor(port) {
    this.#redis = new Redis(port, '127.0.0.1')
    this.#subscriber = new Redis(port, '127.0.0.1')
    this.#subscriber.on('message', (channel, id) => this.#deliver(channel, id))
  }

  async append(stream, event) {
    const ts = new Date().toISOString()
    const id = await this.#redis.xadd(stream, '*', ...toFields(event, ts))
    await this.#redis.publish(channelOf(stream), id)
    return { id, ts, ...event }
  }

  async query(stream) {
    const entries = await this.#redis.xrange(stream, '-', '+', 'COUNT', READ_LIMIT)
    return entries.map(toRecord)
  }

  async queryText(stream) {
    return JSON.stringify(await this.query(stream))
  }

  /** @returns {Promise<() => Promise<void>>} ends the subscription */
  async subscribe(stream, handler) {
    const channel = channelOf(stream)
    this.#handlers.set(channel, { stream, handler })
    await this.#subscriber.subscribe(channel)
    return async () => {
      this.#handlers.delete(channel)
      await this.#subscriber.unsubscribe(channel)
    }
  }

  async deleteStream(stream) {
    await this.#redis.del(stream)
  }

  async close() {
    await Promise.all([this.#redis.quit(), this.#subscriber.quit()])
  }

  async #deliver(channel, id) {
    const subscription = this.#handlers.get(channel)
    if (!subscription) return
    const entries = await this.#redis.xrange(subscription.stream, id, id)
    for (const entry of entries) subscription.handler(toRecord(entry))
  }
}

function channelOf(stream) {
  return `nq:events:${stream}`
}
