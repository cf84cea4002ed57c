/**
 * Processes that are killed while they run a step, at every point of its life (P7: an await resumes exactly once,
 * through a crash and a redeploy): the run completes, and what a step records is recorded once.
 */

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type EventRecord, open, type QueueConfig, type QueueCore } from '../index.js'
import { newQueue } from './support/dispatchers.js'
import { Fleet, type Member } from './support/fleet.js'
import { order } from './support/flows.mjs'
import { Inbox } from './support/inbox.js'
import { type RedisServer, startRedis } from './support/redis.js'

const ONCE = {
  'flow.started': 1,
  'flow.step.paused': 1,
  'trigger.awaiting': 1,
  'trigger.fired': 1,
  'flow.step.resumed': 1,
  emit: 1,
  'flow.step.completed': 2,
  'flow.completed': 1,
}
const LIVE = { suspendAfter: '1h' }
const SUSPENDED = { suspendAfter: 0 }

let server: RedisServer
let core: QueueCore
const fleets: Fleet[] = []

beforeAll(async () => {
  server = await startRedis()
  core = await open(config())
})
afterEach(async () => {
  await Promise.all(fleets.splice(0).map((fleet) => fleet.killAll()))
})
afterAll(async () => {
  await core.close()
  await server.stop()
})

function config(): QueueConfig {
  return { eventStore: { adapter: 'redis', redis: { url: server.url } }, jobs: { stallTimeout: 1000 } }
}

/** A run of the order flow, and the processes that work on it. */
class Scene {
  readonly fleet = new Fleet()
  readonly runId = randomUUID()
  readonly queue = newQueue()
  readonly size: number
  readonly worker: { suspendAfter: string | number }
  inbox = new Inbox()

  private constructor(size: number, worker: { suspendAfter: string | number }) {
    this.size = size
    this.worker = worker
    fleets.push(this.fleet)
  }

  /** Starts processes and the run; handlers stop at the point `hold`. */
  static async of(size: number, worker: { suspendAfter: string | number }, hold?: string): Promise<Scene> {
    const scene = new Scene(size, worker)
    core.flows.define({ ...order(scene.queue), name: `order-${scene.queue}` })
    await scene.fill(hold)
    scene.inbox = await Inbox.of(core.store, `nq:flow:${scene.runId}`, { after: '0-0' })
    await core.flows.start(`order-${scene.queue}`, { item: 'tea' }, { runId: scene.runId })
    return scene
  }

  /** Starts processes until there are as many as in the beginning. */
  async fill(hold?: string): Promise<void> {
    const { queue, worker } = this
    await this.fleet.start(this.size - this.fleet.members.size, { config: config(), queue, worker, hold })
  }

  /** Kills a process; the others, and another in its place, go on and stop at `hold` next. */
  async kill(member: Member, hold?: string): Promise<void> {
    this.fleet.hold(hold)
    await this.fleet.kill(member)
    await this.fill(hold)
  }

  async approve(): Promise<void> {
    await core.triggers.emit(`approval-${this.runId}`, { by: 'mae' })
  }

  /** Checks the record as soon as the run is completed. */
  async completes(): Promise<void> {
    await this.inbox.first('flow.completed', 25_000)
    const events = await core.store.query({ stream: `nq:flow:${this.runId}` })
    expect(count(events)).toMatchObject(ONCE)
    expect(events.filter(({ type }) => /failed|timeout|canceled/.test(type))).toEqual([])
    const shipped = events.find((event) => event.type === 'flow.step.completed' && event.stepName === 'ship')
    expect(shipped?.data).toMatchObject({ result: { shipped: { by: 'mae' } } })
    expect(await core.flows.status(this.runId)).toMatchObject({
      status: 'completed',
      steps: { approve: { status: 'completed' }, ship: { status: 'completed' } },
      awaits: [],
    })
  }
}

function count(events: EventRecord[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { type } of events) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

describe.each([1, 3])('%i processes; one is killed', (size) => {
  test('before the await is recorded', async () => {
    const scene = await Scene.of(size, LIVE, 'begin')
    const { member } = await scene.fleet.reached('begin')
    await scene.kill(member)
    await scene.inbox.first('trigger.awaiting')
    await scene.approve()
    await scene.completes()
  })

  test('between record and suspend', async () => {
    const scene = await Scene.of(size, { suspendAfter: 300 })
    const { member } = await scene.fleet.reached('begin')
    await scene.inbox.first('trigger.awaiting')
    await scene.kill(member)
    await scene.inbox.first('flow.step.suspended')
    await scene.approve()
    await scene.completes()
  })

  test('while it waits, and the answer comes when nobody waits', async () => {
    const scene = await Scene.of(size, LIVE)
    const { member } = await scene.fleet.reached('begin')
    await scene.inbox.first('trigger.awaiting')
    await scene.kill(member)
    await scene.approve()
    await scene.completes()
  })

  test('while it waits, and the answer comes when another waits', async () => {
    const scene = await Scene.of(size, LIVE)
    const { member } = await scene.fleet.reached('begin')
    await scene.inbox.first('trigger.awaiting')
    await scene.kill(member)
    await scene.fleet.reached('begin:2')
    await scene.approve()
    await scene.completes()
  })

  test('as all others while the step is suspended', async () => {
    const scene = await Scene.of(size, SUSPENDED)
    await scene.inbox.first('flow.step.suspended')
    await scene.fleet.killAll()
    await scene.approve()
    await scene.fill()
    await scene.completes()
  })

  test('between firing and resume, the step waiting', async () => {
    const scene = await Scene.of(size, LIVE)
    const { member } = await scene.fleet.reached('begin')
    await scene.inbox.first('trigger.awaiting')
    member.freeze()
    await scene.approve()
    await scene.inbox.first('trigger.fired')
    await scene.kill(member)
    await scene.completes()
  })

  test('between firing and resume, the step suspended', async () => {
    const scene = await Scene.of(size, SUSPENDED)
    await scene.inbox.first('flow.step.suspended')
    scene.fleet.hold('begin')
    await scene.approve()
    const { member } = await scene.fleet.reached('begin:2')
    await scene.kill(member)
    await scene.completes()
  })

  test('between resume and completion', async () => {
    const scene = await Scene.of(size, LIVE, 'after-await')
    await scene.inbox.first('trigger.awaiting')
    await scene.approve()
    const { member } = await scene.fleet.reached('after-await')
    await scene.kill(member)
    await scene.completes()
  })

  test('between an emit and completion', async () => {
    const scene = await Scene.of(size, SUSPENDED, 'after-emit')
    await scene.inbox.first('flow.step.suspended')
    await scene.approve()
    const { member } = await scene.fleet.reached('after-emit')
    await scene.kill(member)
    await scene.completes()
  })

  test('as soon as completion is recorded', async () => {
    const scene = await Scene.of(size, LIVE)
    const { member } = await scene.fleet.reached('begin')
    await scene.inbox.first('trigger.awaiting')
    await scene.approve()
    await scene.inbox.first('flow.step.completed')
    await scene.kill(member)
    await scene.completes()
  })

  test('in the last step', async () => {
    const scene = await Scene.of(size, LIVE, 'ship')
    await scene.inbox.first('trigger.awaiting')
    await scene.approve()
    const { member } = await scene.fleet.reached('ship')
    await scene.kill(member)
    await scene.completes()
  })
})

test('killed at one point after the other', async () => {
  const scene = await Scene.of(1, LIVE, 'begin')
  const first = await scene.fleet.reached('begin')
  await scene.kill(first.member, 'after-await')
  await scene.inbox.first('trigger.awaiting')
  await scene.approve()
  const second = await scene.fleet.reached('after-await')
  await scene.kill(second.member, 'after-emit')
  const third = await scene.fleet.reached('after-emit')
  await scene.kill(third.member, 'ship')
  const fourth = await scene.fleet.reached('ship')
  await scene.kill(fourth.member)
  await scene.completes()
})
