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

function run(example: string, redisUrl: string | undefined) {
  const { REDIS_URL: _url, FORCE_COLOR: _colour, ...env } = process.env
  return spawnSync(process.execPath, [join(folder, example)], {
    cwd: root,
    encoding: 'utf8',
    env: { ...env, NO_COLOR: '1', ...(redisUrl && { REDIS_URL: redisUrl }) },
    timeout: 25_000,
  })
}

function play(example: string, redisUrl: string | undefined): string {
  const { status, stdout, stderr } = run(example, redisUrl)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout.trim()).not.toBe('')
  return stdout
}

test('the examples are there', () => {
  expect(examples).toEqual(
    expect.arrayContaining([
      ...['quickstart.mjs', 'flow.mjs', 'schedule.mjs'],
      ...[join('iris', 'run.mjs'), join('webhook', 'run.mjs')],
    ]),
  )
})

test.each(examples)('%s on memory', (example) => {
  play(example, undefined)
})

test.each(examples)('%s on Redis', async (example) => {
  await command(redis, 'FLUSHALL')
  play(example, redis.url)
})

test('the iris run learns, waits for its approval, and its stream is left on Redis', async () => {
  await command(redis, 'FLUSHALL')
  const said = play(join('iris', 'run.mjs'), redis.url)
  expect(said).toMatch(/accuracy 9\d\.\d %/)
  expect(said).toMatch(inOrder('flow.step.paused', 'trigger.awaiting', 'trigger.fired', 'flow.step.resumed'))
  expect(await command(redis, 'KEYS', 'nq:flow:*')).toHaveLength(1)
})

test('the iris run survives the process that works on it', async () => {
  await command(redis, 'FLUSHALL')
  const said = play(join('iris', 'crash.mjs'), redis.url)
  expect(said).toMatch(
    inOrder(
      'process-A',
      'flow.step.paused',
      'trigger.fired',
      'flow.stalled',
      'process-B',
      'flow.step.resumed',
      'flow.completed',
    ),
  )
  const steps = [...said.matchAll(/flow\.step\.started +(\w+)/g)].map(([, step]) => step)
  expect(steps.slice(-2)).toEqual(['approve', 'save'])
})

test('the webhook starts one run, and tells senders no more than they may know', () => {
  const said = play(join('webhook', 'run.mjs'), undefined)
  const [answers = '', ledger = '', run = ''] = said.split(/^the .*$/m).slice(1)
  expect(answers.match(/\d{3} .*/g)).toEqual([
    '200 accepted',
    '200 repeated',
    '200 skipped the filter does not mean it',
    '401 unauthorized',
  ])
  // What is genuine and what is not stand in two streams: within a millisecond their order is anybody's.
  expect(ledger.trim().split(/\n */).sort()).toEqual([
    'accepted 200',
    'refused 200: the filter does not mean it',
    'rejected 401: wrong-signature',
    'repeated 200',
  ])
  expect(run).toMatch(inOrder('flow.started', 'emit', 'state.set', '"value":"shop:7b1c2d9"', 'flow.completed'))
})

test('a crash without Redis says what is missing', () => {
  const { status, stderr } = run(join('iris', 'crash.mjs'), undefined)
  expect([status, stderr]).toEqual([1, expect.stringContaining('set REDIS_URL')])
})

/** These texts, one after the other. */
function inOrder(...texts: string[]): RegExp {
  return new RegExp(texts.map((text) => text.replaceAll('.', '\\.')).join('[^]*'))
}
