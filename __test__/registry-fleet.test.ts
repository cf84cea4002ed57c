/** Processes that share a registry: each runs a part of a flow; they are killed, blocked, drained and replaced. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type InstanceInfo, open, type QueueConfig, type QueueCore, type RegisteredFlow } from '../index.js'
import { refuses } from './support/failure.js'
import { Fleet, type Member } from './support/fleet.js'
import { type RedisServer, startRedis, until } from './support/redis.js'

const STEPS = ['load', 'train', 'save']
/** Short, so that the dead are noticed soon, and long enough for a busy machine. */
const HEARTBEATS = { heartbeatInterval: 200, heartbeatTimeout: 2000 }

let server: RedisServer
/** Looks on. */
let core: QueueCore
const fleet = new Fleet('registry-worker.mjs')

beforeAll(async () => {
  server = await startRedis()
  core = await open(config('watcher'))
})
afterAll(async () => {
  await fleet.killAll()
  await core.close()
  await server.stop()
})

const config = (instanceId: string, version?: string): QueueConfig => ({
  eventStore: { adapter: 'redis', redis: { url: server.url } },
  registry: { instanceId, ...HEARTBEATS, ...(version !== undefined && { version }) },
})

/** Starts a process that runs a step. */
async function start(step: string, version: string, instanceId = `${step}-${version}`): Promise<Member> {
  const [member] = await fleet.start(1, { config: config(instanceId, version), steps: [step] })
  return member as Member
}

async function stateOf(instanceId: string): Promise<InstanceInfo['state'] | undefined> {
  return (await core.registry.listInstances()).find((info) => info.instanceId === instanceId)?.state
}

/** What each process says of the flow; fails unless all say the same. */
async function told(members: Member[], options = {}): Promise<RegisteredFlow> {
  const expected = await core.registry.getFlow('pipeline', options)
  for (const member of members) {
    expect(await member.ask({ ask: ['getFlow', 'pipeline', options] })).toEqual(expected)
  }
  return expected as RegisteredFlow
}

test('three processes with a step each are one flow, as all of them say', async () => {
  const members = await Promise.all(STEPS.map((step) => start(step, '1.0.0')))
  const ready = await core.registry.waitForFlowReady('pipeline', '20s')
  expect(await told(members)).toEqual(ready)
  expect(ready).toMatchObject({
    entry: { step: 'load', instanceId: 'load-1.0.0' },
    versions: ['1.0.0'],
    allHealthy: true,
  })
  expect(ready.instances).toEqual(['load-1.0.0', 'save-1.0.0', 'train-1.0.0'])
  for (const member of members) {
    expect(await member.ask({ ask: ['getQueueHandlers', 'gpu'] })).toEqual(['train-1.0.0'])
  }
}, 30_000)

test('one that is killed is dead to the others, and replaced by another', async () => {
  const killed = [...fleet.members][1] as Member
  await fleet.kill(killed)
  await until(async () => (await stateOf('train-1.0.0')) === 'dead', 'the death to be noticed')
  expect(await core.registry.getQueueHandlers('gpu')).toEqual([])
  const missing = 'no healthy instance takes step "train" of queue "gpu"'
  await refuses(() => core.registry.waitForFlowReady('pipeline', 100), 'NQ_TIMEOUT', missing)
  expect((await told([...fleet.members])).allHealthy).toBe(false)
  const [flow] = await Promise.all([
    core.registry.waitForFlowReady('pipeline', '20s'),
    start('train', '1.0.0', 'train-again'),
  ])
  expect(flow.steps.train?.instanceId).toBe('train-again')
  expect((await told([...fleet.members])).allHealthy).toBe(true)
}, 30_000)

test('one whose event loop is blocked for longer than its timeout is alive, and it is told of', async () => {
  const [member] = [...fleet.members]
  const unblocked = member?.ask({ block: 3000 })
  const seen: InstanceInfo[] = []
  await until(async () => {
    seen.push(...(await core.registry.listInstances()).filter(({ instanceId }) => instanceId === 'load-1.0.0'))
    return (seen.at(-1)?.blockedMs ?? 0) > HEARTBEATS.heartbeatTimeout
  }, 'the blocked event loop to be told of')
  expect(new Set(seen.map(({ state }) => state))).toEqual(new Set(['healthy']))
  await unblocked
  await until(async () => {
    const info = (await core.registry.listInstances()).find(({ instanceId }) => instanceId === 'load-1.0.0')
    return info?.blockedMs === undefined
  }, 'the event loop to be seen running')
}, 30_000)
