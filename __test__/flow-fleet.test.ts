/** A thousand runs of five steps in three processes on one Redis server. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, type QueueConfig, type QueueCore } from '../index.js'
import { newQueue } from './support/dispatchers.js'
import { Fleet } from './support/fleet.js'
import { chain } from './support/flows.mjs'
import { type RedisServer, startRedis } from './support/redis.js'

const RUNS = 1000
const runIds = Array.from({ length: RUNS }, (_, n) => `fleet-${n}`)

let server: RedisServer
let core: QueueCore
const fleet = new Fleet()

beforeAll(async () => {
  server = await startRedis()
  core = await open(config())
})
afterAll(async () => {
  await fleet.killAll()
  await core.close()
  await server.stop()
})

const config = (): QueueConfig => ({ eventStore: { adapter: 'redis', redis: { url: server.url } } })

test('all complete, each step once, and all processes say the same', async () => {
  const queue = newQueue()
  core.flows.define(chain(queue))
  const members = await fleet.start(3, { config: config(), queue })
  const completed = allCompleted()
  await Promise.all(runIds.map((runId, n) => core.flows.start('chain', { n }, { runId })))
  await completed
  for (const [n, runId] of runIds.entries()) await checkRun(runId, n)
  const expected = await Promise.all(runIds.map((runId) => core.flows.status(runId)))
  expect(expected.filter((status) => status?.status === 'completed')).toHaveLength(RUNS)
  for (const member of members) expect(await member.status(runIds)).toEqual(expected)
  await Promise.all(members.map((member) => member.close()))
}, 60_000)

/** Resolves when all runs have recorded that they are completed. */
async function allCompleted(): Promise<void> {
  const done = new Set<string>()
  await new Promise<void>((resolve, reject) => {
    const handler = ({ type, runId }: { type: string; runId?: string }) => {
      if (type === 'flow.completed' && runId && done.add(runId).size === RUNS) resolve()
    }
    core.store.subscribe('nq:flow:fleet-*', handler, { after: '0-0' }).catch(reject)
  })
}

async function checkRun(runId: string, n: number): Promise<void> {
  const events = await core.store.query({ stream: `nq:flow:${runId}`, types: ['flow.*', 'emit'] })
  const steps = events.filter(({ type }) => type === 'flow.step.completed')
  expect(steps.map(({ stepName, data }) => [stepName, data])).toMatchObject(
    [1, 2, 3, 4, 5].map((step) => [`step-${step}`, { result: { n: n + step - 1 } }]),
  )
  expect(events.filter(({ type }) => type === 'emit')).toHaveLength(4)
  expect(events.filter(({ type }) => type === 'flow.step.started')).toHaveLength(5)
  expect(events.filter(({ type }) => type === 'flow.completed')).toHaveLength(1)
}
