// State read from a run's events with plain means: XRANGE page by page, parsed and folded here. In pages,
// as no client should be asked to hold a million entries at once; a short run is one page.

import { Redis } from 'ioredis'
import { toRecord } from './record.mjs'
import { reduceByHand } from './reduce.mjs'

const PAGE = 10_000

export class BaselineRedisFold {
  #redis

  /** @param {number} port of a Redis on 127.0.0.1 */
  static async open(port) {
    const redis = new Redis(port, '127.0.0.1', { lazyConnect: true })
    await redis.connect()
    return new BaselineRedisFold(redis)
  }

  /** @param {Redis} redis */
  constructor(redis) {
    this.#redis = redis
  }

  /**
   * @param {string} stream
   * @param {string} [end] the id of the last event that counts
   * @returns {Promise<{ state: Record<string, unknown>, entries: number }>} and how many entries were read for it
   */
  async fold(stream, end = '+') {
    let state = {}
    let entries = 0
    for (let start = '-', page; ; start = `(${page.at(-1)[0]}`) {
      page = await this.#redis.xrange(stream, start, end, 'COUNT', PAGE)
      state = reduceByHand(page.map(toRecord), state)
      entries += page.length
      if (page.length < PAGE) return { state, entries }
    }
  }

  async close() {
    await this.#redis.quit()
  }
}
