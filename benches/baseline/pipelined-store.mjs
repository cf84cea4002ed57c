// The second reference: what ioredis reaches by itself when it may gather the commands of a tick.
// XADD alone, nothing is announced.

import { Redis } from 'ioredis'
import { toFields } from './record.mjs'

export class PipelinedRedisStore {
  announces = false
  #redis

  /** @param {number} port of a Redis on 127.0.0.1 */
  constructor(port) {
    this.#redis = new Redis(port, '127.0.0.1', { enableAutoPipelining: true })
  }

  async append(stream, event) {
    const ts = new Date().toISOString()
    const id = await this.#redis.xadd(stream, '*', ...toFields(event, ts))
    return { id, ts, ...event }
  }

  async deleteStream(stream) {
    await this.#redis.del(stream)
  }

  async close() {
    await this.#redis.quit()
  }
}
