/** Processes that share a registry: each runs a part of a flow; they are killed, blocked, drained and replaced. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type EventType,
  type InstanceInfo,
  open,
  type QueueConfig,
  type QueueCore,
  type RegisteredFlow,
} from '../index.js'
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

describe('a rolling deployment', () => {
  let old: Member[]
  let fresh: Member[]

  test('shows both versions, and runs stay with theirs', async () => {
    old = [...fleet.members]
    fresh = await Promise.all(STEPS.map((step) => start(step, '2.0.0')))
    const both = await told([...fleet.members])
    expect(both.versions).toEqual(['2.0.0', '1.0.0'])
    expect(versionsOf(both)).toEqual(['2.0.0', '2.0.0', '2.0.0'])
    expect(versionsOf(await told([...fleet.members], { version: '1.0.0', strategy: 'strict' }))).toEqual([
      '1.0.0',
      '1.0.0',
      '1.0.0',
    ])
    await Promise.all([
      ...['a', 'b'].map((run) => old[0]?.ask({ start: `old-${run}` })),
      ...['a', 'b'].map((run) => fresh[0]?.ask({ start: `fresh-${run}` })),
    ])
    for (const run of ['old-a', 'old-b'])
      expect(await takersOf(run)).toEqual(['load-1.0.0', 'train-again', 'save-1.0.0'])
    expect((await core.flows.status('old-a'))?.version).toBe('1.0.0')
    for (const run of ['fresh-a', 'fresh-b']) {
      expect(await takersOf(run)).toEqual(['load-2.0.0', 'train-2.0.0', 'save-2.0.0'])
    }
  }, 60_000)

  test('drains the old instances, and what is left of them waits for their version', async () => {
    await Promise.all(old.map((member) => member.ask({ ask: ['drain'] })))
    expect(await stateOf('load-1.0.0')).toBe('draining')
    expect(versionsOf(await told(fresh))).toEqual(['2.0.0', '2.0.0', '2.0.0'])
    await Promise.all(old.map((member) => member.close()))
    expect(await stateOf('load-1.0.0')).toBe('left')
    await fresh[0]?.ask({ start: 'late', version: '1.0.0' })
    await until(async () => (await eventsOf('late', 'queue.unavailable')).length > 0, 'it to be noted')
    const reason =
      'step "load" of queue "api" is to run in version 1.0.0, which goes with none of those that healthy instances have: load-2.0.0 (2.0.0)'
    expect(await eventsOf('late', 'queue.unavailable')).toMatchObject([{ stepName: 'load', data: { reason } }])
    expect(await core.flows.explain('late')).toContain(reason)
    await fleet.start(1, { config: config('back', '1.0.1'), steps: STEPS })
    expect(await takersOf('late')).toEqual(['back', 'back', 'back'])
  }, 60_000)
})

const versionsOf = (flow: RegisteredFlow) => STEPS.map((step) => flow.steps[step]?.version)

const eventsOf = (runId: string, type: EventType) => core.store.query({ stream: `nq:flow:${runId}`, types: [type] })

/** The instances that ran the steps of a run, once it has completed. */
async function takersOf(runId: string): Promise<Array<string | undefined>> {
  await until(async () => (await core.flows.status(runId))?.status === 'completed', `${runId} to be completed`, 20_000)
  return (await eventsOf(runId, 'flow.step.started')).map(({ instanceId }) => instanceId)
}
