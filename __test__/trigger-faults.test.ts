/**
 * Processes that are killed in the middle of a firing, before each of the writes that it consists of: others finish it,
 * and each flow that subscribes has exactly one run.
 */

import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type EventRecord,
  EventStore,
  type Firing,
  open,
  type QueueCore,
  type TriggerDefinition,
  type WebhookResponse,
} from '../index.js'
import { newQueue } from './support/dispatchers.js'
import { Fleet, type Member } from './support/fleet.js'
import { fulfilment } from './support/flows.mjs'
import { command, type RedisServer, startRedis, until } from './support/redis.js'
import { Valve } from './support/valve.js'

const SECRET = 'github-secret'
const FLOWS = ['bill', 'pack']
const ORDER = { order: { id: 7, items: ['tea', 'cups'] } }

/** How something is fired, and whether it is fired again by whoever is left. */
interface Way {
  title: string
  isWebhook?: boolean
  isKeyed?: boolean
  isRepeated?: boolean
  persistData?: boolean
}

const WAYS: Way[] = [
  { title: 'emit' },
  { title: 'emit with a key, and again', isKeyed: true, isRepeated: true },
  { title: 'a webhook', isWebhook: true },
  {
    title: 'a webhook that keeps no payloads, and is sent again',
    isWebhook: true,
    isRepeated: true,
    persistData: false,
  },
]

/** One firing that is cut off. */
interface Cut {
  name: string
  /** The write that did not happen. */
  before: string
  again?: Firing | WebhookResponse
}

let server: RedisServer
let store: EventStore
const fleet = new Fleet('trigger-worker.mjs')
const valves: Valve[] = []
const queue = newQueue()
/** What was cut off, by the title of its way. */
const cuts = new Map<string, Cut[]>()

beforeAll(async () => {
  process.env.HOOK_SECRET = SECRET
  server = await startRedis()
  store = await EventStore.open({ adapter: 'redis', redis: { url: server.url } })
  const names = WAYS.map((_, n) => `t${n}-whole`)
  await register(WAYS.map((way, n) => [names[n] as string, way]))
  const writes = await Promise.all(WAYS.map((way, n) => writesOf(names[n] as string, way)))
  await fleet.killAll()
  // Two that began together also look at the same time for what others have left.
  const [survivor] = await fleet.start(2, { urls: [server.url], queue })
  const scenes = WAYS.map((way, n) => new Scene(n, way, writes[n] as string[]))
  await register(scenes.flatMap((scene) => scene.names.map((name): [string, Way] => [name, scene.way])))
  await Promise.all(scenes.map((scene) => scene.play(survivor as Member)))
  await fleet.start(1, { urls: [server.url], queue })
  await until(() => isFinished(), 'everything to be finished', 30_000)
}, 90_000)

afterAll(async () => {
  await fleet.killAll()
  for (const valve of valves) valve.close()
  await store.close()
  await server.stop()
})

/** All firings of one way, each cut off elsewhere, in one process. */
class Scene {
  readonly names: string[]
  readonly #points: number[]

  constructor(
    n: number,
    readonly way: Way,
    writes: string[],
  ) {
    const fired = writes.findIndex((write) => write.endsWith(`nq:trigger:t${n}-whole`)) + 1
    this.#points = writes.map((_, at) => at + 1).slice(fired)
    this.names = this.#points.map((point) => `t${n}-${point}`)
  }

  async play(survivor: Member): Promise<void> {
    const { way, names } = this
    const own = await Promise.all(names.map(() => Valve.to(server)))
    valves.push(...own)
    const [member] = await fleet.start(1, { urls: own.map(({ url }) => url) })
    for (const [n, valve] of own.entries()) valve.set(this.#points[n])
    member?.process.send({ fire: names.map((name, core) => ({ core, ...firing(name, way) })) })
    const before = await Promise.all(own.map((valve) => valve.shut()))
    await fleet.kill(member as Member)
    const again = way.isRepeated
      ? await fire(
          survivor,
          names.map((name) => firing(name, way)),
        )
      : []
    cuts.set(
      way.title,
      names.map((name, n) => ({ name, before: before[n] as string, ...(again[n] && { again: again[n] }) })),
    )
  }
}

/** Registers triggers, and lets both flows subscribe to them. */
async function register(triggers: Array<[string, Way]>): Promise<void> {
  const core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } } })
  for (const flow of fulfilment(queue)) core.flows.define(flow)
  for (const [name, { isWebhook, persistData = true }] of triggers) {
    const auth = { type: 'signature', provider: 'github', secretRef: 'HOOK_SECRET' } as const
    const webhook = { type: 'webhook', endpoint: { path: `/hooks/${name}`, auth } } as const
    const kind: Pick<TriggerDefinition, 'type' | 'endpoint'> = isWebhook ? webhook : { type: 'event' }
    await core.triggers.register({ name, ...kind, config: { persistData } })
    for (const flow of FLOWS) await core.triggers.subscribe(name, flow)
  }
  await core.close()
}

/** What `trigger-worker.mjs` is told to fire: the same each time. */
function firing(name: string, { isWebhook, isKeyed }: Way): object {
  if (!isWebhook) return { name, payload: ORDER, ...(isKeyed && { key: `key-of-${name}` }) }
  const body = JSON.stringify(ORDER)
  const headers = {
    'content-type': 'application/json',
    'x-github-event': 'push',
    'x-github-delivery': `delivery-of-${name}`,
    'x-hub-signature-256': `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`,
  }
  return { name, request: { method: 'POST', path: `/hooks/${name}`, headers, body } }
}

async function fire(member: Member, firings: object[]): Promise<Array<Firing | WebhookResponse>> {
  return await member.ask({ fire: firings })
}

/** The writes of a whole firing, in order, up to the last that follows from it. */
async function writesOf(name: string, way: Way): Promise<string[]> {
  const valve = await Valve.to(server)
  valves.push(valve)
  const [member] = await fleet.start(1, { urls: [valve.url] })
  valve.set()
  await fire(member as Member, [firing(name, way)])
  await until(() => valve.writes.filter((write) => write === 'ZREM nq:handovers').length === 2, 'all to be handed over')
  return valve.writes
}

/** Whether all runs have ended, and nobody owes anything. */
async function isFinished(): Promise<boolean> {
  const runs = [...cuts.values()].flat().length + WAYS.length
  const completed = await store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.completed'] })
  if (completed.length < FLOWS.length * runs) return false
  const owed = await Promise.all(['nq:firings', 'nq:handovers'].map((key) => command(server, 'ZCARD', key)))
  return owed.every((count) => count === 0)
}

describe.each(WAYS)('$title', ({ title }) => {
  let core: QueueCore
  beforeAll(async () => {
    core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } } })
  })
  afterAll(() => core.close())

  test('it was cut off before each write behind its record', () => {
    const keys = cutsOf(title).map(({ before }) => /^\w+ (\w+:\w+)/.exec(before)?.[1])
    for (const key of ['nq:triggers', 'nq:trigger', 'nq:firings', 'nq:handovers']) expect(keys).toContain(key)
    expect(keys.filter((key) => key === 'nq:flow')).toHaveLength(FLOWS.length)
  })

  test('it has fired once, and has its effect', async () => {
    for (const { name, before } of cutsOf(title)) {
      const firings = await core.triggers.runs(name)
      expect(firings, before).toMatchObject([{ status: 'processed', runs: FLOWS.map((flowName) => ({ flowName })) }])
      expect(await core.triggers.stats(name), before).toEqual({ total: 1, byStatus: { processed: 1 } })
      const events = await store.query({ stream: `nq:trigger:${name}`, types: ['trigger.fired', 'trigger.processed'] })
      // Two that finish it at the same time may both record that.
      expect([...new Set(typesOf(events))], before).toEqual(['trigger.fired', 'trigger.processed'])
    }
  })

  test('each flow has one run, which was executed once', async () => {
    const names = cutsOf(title).map(({ name }) => name)
    for (const flow of FLOWS) {
      const started = (await startedRuns(flow)).filter(({ data }) => names.includes(data?.triggeredBy as string))
      expect(started.map(({ data }) => data?.triggeredBy).sort()).toEqual(names.sort())
      for (const { runId, data } of started) {
        const events = await store.query({ stream: `nq:flow:${runId}`, types: ['flow.*'] })
        const expected = ['flow.started', 'flow.step.started', 'flow.step.completed', 'flow.completed']
        expect(typesOf(events), data?.triggeredBy).toEqual(expected)
        expect(data?.input).toEqual(ORDER)
      }
    }
  })

  test('whoever fires it again is told of the same firing', async () => {
    for (const { name, before, again } of cutsOf(title).filter(({ again }) => again !== undefined)) {
      const [{ fireId = '', runs = [] } = {}] = await core.triggers.runs(name)
      if (again && 'body' in again) {
        expect(again, before).toMatchObject({ status: 200, body: JSON.stringify({ status: 'repeated', fireId }) })
      } else expect(again, before).toMatchObject({ fireId, status: 'processed', runs })
    }
  })
})

function typesOf(events: EventRecord[]): string[] {
  return events.map(({ type }) => type)
}

function cutsOf(title: string): Cut[] {
  return cuts.get(title) as Cut[]
}

/** What the runs of a flow began with, as the index of its runs has them. */
async function startedRuns(flow: string) {
  const runIds = (await command(server, 'ZRANGE', `nq:flows:${flow}`, 0, -1)) as string[]
  const events = await store.queryGlobal({ pattern: 'nq:flow:*', types: ['flow.started'] })
  return events.filter(({ runId }) => runIds.includes(runId as string))
}
