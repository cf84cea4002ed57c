// The baseline's state on Redis: one string per key, beside the stream, strings bare and the rest JSON.

import { Redis } from 'ioredis'

export class BaselineRedisState {
  #redis

  /** @param {number} port of a Redis on 127.0.0.1 */
  constructor(port) {
    this.#redis = new Redis(port, '127.0.0.1')
  }

  /** @returns {{ get(key: string): Promise<unknown>, set(key: string, value: unknown): Promise<void>, getAll(): Promise<object> }} */
  run(runId) {
    const prefix = `nq:flow:${runId}:`
    const redis = this.#redis
    return {
      get: async (key) => parse(await redis.get(prefix + key)),
      set: async (key, value) => {
        await redis.set(prefix + key, typeof value === 'string' ? value : JSON.stringify(value))
      },
      getAll: () => readAll(redis, prefix),
    }
  }

  async close() {
    await this.#redis.quit()
  }
}

/**
 * Gives runs a state beforehand, faster than `set` does it.
 *
 * @param {Redis} redis
 * @param {string[]} runIds
 * @param {Record<string, unknown>} state numbers and objects; the same for each
 */
export async function seedStates(redis, runIds, state) {
  const texts = Object.entries(state).map(([key, value]) => [key, JSON.stringify(value)])
  const commands = runIds.map((runId) => ['mset', ...texts.flatMap(([key, text]) => [`nq:flow:${runId}:${key}`, text])])
  await redis.pipeline(commands).exec()
}

/** The original has no such call; this is what its users write: list the keys, then get each. */
async function readAll(redis, prefix) {
  const keys = await listKeys(redis, `${prefix}*`)
  const texts = await Promise.all(keys.map((key) => redis.get(key)))
  return Object.fromEntries(keys.map((key, i) => [key.slice(prefix.length), parse(texts[i])]))
}

async function listKeys(redis, pattern) {
  const keys = []
  let cursor = '0'
  do {
    const [next, page] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000)
    keys.push(...page)
    cursor = next
  } while (cursor !== '0')
  return keys
}

function parse(text) {
  if (text === null) return null
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
