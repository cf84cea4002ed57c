/**
 * P6: each instant of a schedule fires once, or is skipped with a reason, over processes whose clocks differ and which are
 * killed and started again. An hour and a half of their clocks, in which those of Berlin go forward.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, type QueueCore, type TriggerDefinition } from '../index.js'
import { VirtualClock } from '../testing.js'
import { newQueue } from './support/dispatchers.js'
import { Fleet, type ScheduleFleetOptions } from './support/fleet.js'
import { command, type RedisServer, startRedis, until } from './support/redis.js'

const MINUTE = 60_000
const START = Date.parse('2025-03-30T00:10:00Z')
const SPEED = 300
/** Two minutes behind, right, right, and two minutes ahead. */
const SKEWS = [-2, 0, 0, 2].map((minutes) => minutes * MINUTE)
const KILLS = 12

const SCHEDULES: TriggerDefinition[] = [
  { name: 'none', type: 'schedule', schedule: { cron: '* * * * *' } },
  { name: 'last', type: 'schedule', schedule: { cron: '*/2 * * * *', catchUp: 'last', jitterMs: 20_000 } },
  { name: 'all', type: 'schedule', schedule: { interval: '90s', catchUp: 'all', catchUpLimit: 3 } },
  { name: 'berlin', type: 'schedule', schedule: { cron: '5,20,35,50 1,2,3,4 * * *', timezone: 'Europe/Berlin' } },
  { name: 'skip', type: 'schedule', schedule: { cron: '* * * * *', overlap: 'skip' } },
  { name: 'queue', type: 'schedule', schedule: { cron: '*/3 * * * *', overlap: 'queue' } },
  { name: 'replace', type: 'schedule', schedule: { cron: '*/3 * * * *', overlap: 'replace' } },
]

let server: RedisServer
let core: QueueCore
const fleet = new Fleet('schedule-worker.mjs')

beforeAll(async () => {
  server = await startRedis()
  // It only looks: by its clock nothing is due.
  core = await open({ clock: new VirtualClock(START), eventStore: { adapter: 'redis', redis: { url: server.url } } })
})
afterAll(async () => {
  await fleet.killAll()
  await core.close()
  await server.stop()
})

interface Decided {
  scheduledTime?: string
  from?: string
  reason?: string
  fireId: string
}

/** What stands in a schedule's stream of each instant: the ids of firings, and reasons. */
async function decisions(name: string, from: string) {
  const { schedule } = core.triggers.get(name) as TriggerDefinition
  const instants = core.triggers.preview(schedule ?? {}, { from, count: 1000 }).map(({ at }) => at)
  const events = await core.store.query({ stream: `nq:trigger:${name}` })
  const decided = new Map<string, Set<string>>()
  const add = (instant: string, what: string) => decided.set(instant, (decided.get(instant) ?? new Set()).add(what))
  for (const { type, data } of events as Array<{ type: string; data: Decided }>) {
    if (data.scheduledTime === undefined) continue
    const { scheduledTime, from: first = scheduledTime, reason, fireId } = data
    if (type === 'trigger.fired' || type === 'trigger.queued') add(scheduledTime, fireId)
    if (type !== 'trigger.skipped') continue
    const range = instants.filter((at) => at >= first && at <= scheduledTime)
    expect(range.length).toBeGreaterThan(0)
    for (const at of range) add(at, `skipped: ${reason}`)
  }
  const last = [...decided.keys()].sort().at(-1) ?? ''
  return { decided, instants: instants.filter((at) => at <= last), events }
}

test('each instant fires once or says why not, whoever lives and whatever the clocks show', async () => {
  const options = {
    url: server.url,
    queue: newQueue(),
    schedules: SCHEDULES,
    began: Date.now(),
    start: START,
    speed: SPEED,
  }
  const start = (skew: number) => fleet.start(1, { ...options, skew } satisfies ScheduleFleetOptions)
  const members = await Promise.all(SKEWS.map(start))
  for (let n = 0; n < KILLS; n++) {
    await delay(600)
    const at = n % members.length
    await Promise.all((members[at] ?? []).map((member) => fleet.kill(member)))
    members[at] = await start(SKEWS[at] ?? 0)
  }
  // Nobody is there for a quarter of an hour.
  await fleet.killAll()
  await delay((15 * MINUTE) / SPEED)
  await Promise.all(SKEWS.map(start))
  await delay(2000)
  const registered = await core.store.query({ stream: 'nq:triggers', types: ['trigger.registered'] })
  // What is under way at the end comes to its end.
  const settled = async () => (await command(server, 'ZCARD', 'nq:firings')) === 0
  await until(settled, 'all firings to be finished')
  await fleet.killAll()
  let fired = 0
  for (const { name } of SCHEDULES) {
    const first = registered.find(({ triggerName }) => triggerName === name)
    const { decided, instants, events } = await decisions(name, first?.data.since ?? '')
    expect(instants.length).toBeGreaterThan(name === 'berlin' ? 3 : 10)
    const twice = [...decided].filter(([, what]) => what.size !== 1)
    expect({ name, twice }).toEqual({ name, twice: [] })
    expect({ name, decided: [...decided.keys()].sort() }).toEqual({ name, decided: instants })
    fired += new Set(events.filter(({ type }) => type === 'trigger.fired').map(({ data }) => (data as Decided).fireId))
      .size
  }
  expect(await command(server, 'ZCARD', 'nq:flows:tick')).toBe(fired)
  const skipped = await core.triggers.runs('none', { status: 'skipped' })
  expect(skipped.map(({ reason }) => reason)).toContain('nobody was there to fire it')
  expect((await core.triggers.stats()).byStatus.failed).toBeUndefined()
}, 90_000)
