/**
 * State in keys on Redis, as the original keeps it, and what is known of how they go with the events.
 *
 * Beside the keys of a run lies a hash, `{nq:flow:42}:mirrored`: for each name the id of the event whose value was
 * written into its key, and a hash of that text. A key that holds something else was written by somebody who knows
 * nothing of events. It expires by itself, and lies in the slot of the run's stream.
 */

import type { StoreOptions } from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import type { StatePlace } from './old-key.js'
import { RedisClient } from './redis-client.js'

/** How long it is remembered which event a key goes with. */
const MIRROR_MS = 30 * 86_400_000

const PAGE = 1000

/** A key that is no string is none of ours: that of a stream with the same name, for one. */
const READ = `
local isText = redis.call('TYPE', KEYS[1]).ok == 'string'
local text = isText and redis.call('GET', KEYS[1])
return { text, text and redis.sha1hex(text), redis.call('HGET', KEYS[2], ARGV[1]), isText and redis.call('PTTL', KEYS[1]) }`

/** Only a later event's value takes the place of an earlier one's, in whatever order they come. */
const MIRROR = `
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local knownMs, knownSeq = parts(known)
  local ms, seq = parts(ARGV[3])
  if ms < knownMs or (ms == knownMs and seq <= knownSeq) then return 0 end
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then
  return redis.error_reply('ERR the key ' .. KEYS[1] .. ' belongs to a ' .. kind)
end
local mark = '-'
if ARGV[2] == 'delete' then
  redis.call('DEL', KEYS[1])
else
  mark = redis.sha1hex(ARGV[4])
  if ARGV[2] == 'set' and ARGV[5] == '' then redis.call('SET', KEYS[1], ARGV[4]) end
  if ARGV[2] == 'set' and ARGV[5] ~= '' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3] .. ' ' .. mark)
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 1`

/** Sets a key if it still holds what was read. */
const REPLACE = `
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then
  return redis.error_reply('ERR the key ' .. KEYS[1] .. ' belongs to a ' .. kind)
end
if ARGV[1] == 'absent' and kind ~= 'none' then return 0 end
if ARGV[1] == 'present' and (kind == 'none' or redis.call('GET', KEYS[1]) ~= ARGV[2]) then return 0 end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return 1`

/** What a key holds. */
export interface OldValue {
  text: string
  /** How long it still lives, in milliseconds; absent: for ever. */
  ttl?: number
  /**
   * `same`: what was written into it with an event. `other`: somebody wrote it since then, who knows nothing of events.
   * Absent: it was never written with an event.
   */
  mirrored?: 'same' | 'other'
}

/** The original's keys. */
export class OldKeys {
  readonly #client: RedisClient

  constructor(redis: StoreOptions['redis']) {
    this.#client = new RedisClient(redis)
  }

  /** Reads a key; `undefined` if there is none. */
  async read(place: StatePlace, name: string): Promise<OldValue | undefined> {
    type Answer = [text: string | null, sha: string | null, mark: string | null, ttl: number]
    const [text, sha, mark, ttl] = await this.#eval<Answer>(READ, keysOf(place, name), [name])
    if (text === null) return undefined
    const mirrored = mark === null ? undefined : mark.endsWith(` ${sha}`) ? 'same' : 'other'
    return { text, ...(ttl > 0 && { ttl }), ...(mirrored && { mirrored }) }
  }

  /** Writes what an event says, unless that of a later one was written already. */
  async mirror(place: StatePlace, name: string, id: string, text: string, ttl?: number): Promise<void> {
    await this.#mirror(place, name, ['set', id, text, ttl === undefined ? '' : Math.ceil(ttl)])
  }

  async mirrorDelete(place: StatePlace, name: string, id: string): Promise<void> {
    await this.#mirror(place, name, ['delete', id, '', ''])
  }

  /** Notes that an event says what was read from a key. */
  async mark(place: StatePlace, name: string, id: string, text: string): Promise<void> {
    await this.#mirror(place, name, ['mark', id, text, ''])
  }

  async set(place: StatePlace, name: string, text: string, ttl?: number): Promise<void> {
    await this.#replace(place, name, ['any', '', text, ttl === undefined ? '' : Math.ceil(ttl)])
  }

  /** Sets a key if it holds `previous`, or, for `undefined`, if there is none; whether it did. */
  async replace(place: StatePlace, name: string, previous: string | undefined, text: string): Promise<boolean> {
    const expected = previous === undefined ? ['absent', ''] : ['present', previous]
    return (await this.#replace(place, name, [...expected, text, ''])) === 1
  }

  async delete(place: StatePlace, name: string): Promise<void> {
    if ((await this.read(place, name)) !== undefined) await this.#client.call('UNLINK', place.oldPrefix + name)
  }

  /** The names of the keys of a place that begin with a prefix. */
  async list(place: StatePlace, prefix: string): Promise<string[]> {
    const names: string[] = []
    for await (const keys of this.scan(`${escapeGlob(place.oldPrefix + prefix)}*`)) {
      names.push(...keys.map((key) => key.slice(place.oldPrefix.length)))
    }
    // Keys of runs begin like those of no run.
    return place.runId === undefined ? names.filter((name) => !name.startsWith('flow:')) : names
  }

  /** All keys that hold texts and match a glob, some at a time; one may come twice. */
  async *scan(pattern: string): AsyncGenerator<string[]> {
    let cursor = '0'
    do {
      const args = [cursor, 'MATCH', pattern, 'COUNT', PAGE, 'TYPE', 'string']
      const [next, keys] = await this.#client.call<[string, string[]]>('SCAN', ...args)
      if (keys.length > 0) yield keys
      cursor = next
    } while (cursor !== '0')
  }

  /** Deletes keys; how many were there. */
  async unlink(keys: readonly string[]): Promise<number> {
    let count = 0
    // One by one: they may lie in several slots.
    for (const key of keys) count += await this.#client.call<number>('UNLINK', key)
    return count
  }

  /** Deletes the keys that match a glob; how many there were. */
  async deleteMatching(pattern: string): Promise<number> {
    let count = 0
    for await (const keys of this.scan(pattern)) count += await this.unlink(keys)
    return count
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  async #mirror(place: StatePlace, name: string, args: Array<string | number>): Promise<void> {
    const [kind = '', ...others] = args
    await this.#eval(MIRROR, keysOf(place, name), [name, kind, ...others, MIRROR_MS])
  }

  async #replace(place: StatePlace, name: string, args: Array<string | number>): Promise<number> {
    return await this.#eval(REPLACE, [place.oldPrefix + name], args)
  }

  async #eval<T>(script: string, keys: string[], args: Array<string | number>): Promise<T> {
    return await this.#client.call<T>('EVAL', script, keys.length, ...keys, ...args)
  }
}

/** The key, and the hash that says which events the keys beside it go with. */
function keysOf({ oldPrefix, stream }: StatePlace, name: string): string[] {
  return [oldPrefix + name, `{${stream}}:mirrored`]
}

export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, '\\$&')
}

/** The old keys of a store, which has to be on Redis. */
export function oldKeysOf(options: StoreOptions): OldKeys {
  expectRedis(options)
  return new OldKeys(options.redis)
}

/** Throws `NQ_CONFIG` where there can be no old keys. */
export function expectRedis(options: StoreOptions): void {
  if (options.adapter === 'redis') return
  const adapter = JSON.stringify(options.adapter ?? 'memory')
  const message = `state.provider needs the old state, which is on Redis, and the adapter is ${adapter}; use 'eventStore'.`
  throw new NuxtQueueError('NQ_CONFIG', message)
}
