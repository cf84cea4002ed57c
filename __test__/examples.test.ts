/** Every example runs from start to end, on the memory backend and on Redis, and says nothing on stderr. */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from '../scripts/lib/paths.mjs'
import { command, type RedisServer, startRedis } from './support/redis.js'

const folder = join(root, 'examples')
const examples = readdirSync(folder, { withFileTypes: true }).flatMap(({ name }) => {
  if (name.endsWith('.mjs')) return [name]
  return existsSync(join(folder, name, 'run.mjs')) ? [join(name, 'run.mjs')] : []
})

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

function play(example: string, redisUrl: string | undefined): string {
  const { REDIS_URL: _url, FORCE_COLOR: _colour, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, example)], {
    cwd: root,
    encoding: 'utf8',
    env: { ...env, NO_COLOR: '1', ...(redisUrl && { REDIS_URL: redisUrl }) },
    timeout: 25_000,
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout.trim()).not.toBe('')
  return stdout
}

test('the examples are there', () => {
  expect(examples).toEqual(expect.arrayContaining(['quickstart.mjs', join('iris', 'run.mjs')]))
})

test.each(examples)('%s on memory', (example) => {
  play(example, undefined)
})

test.each(examples)('%s on Redis', async (example) => {
  await command(redis, 'FLUSHALL')
  play(example, redis.url)
})

test('the iris run learns, and its stream is left on Redis', async () => {
  await command(redis, 'FLUSHALL')
  expect(play(join('iris', 'run.mjs'), redis.url)).toMatch(/accuracy/i)
  expect(await command(redis, 'KEYS', 'nq:flow:*')).not.toEqual([])
})
