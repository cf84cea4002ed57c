/**
 * A process that works on flows, with events in a directory and jobs in its memory, is killed and started again: the
 * next one finds what was to be done, and each run completes (P7).
 */

import { afterEach, beforeEach, expect, test } from 'vitest'
import { EventStore, type RunStatus } from '../index.js'
import { makeDirectory, removeDirectory } from './support/directory.js'
import { Fleet, type FleetOptions, type Member } from './support/fleet.js'
import { Inbox } from './support/inbox.js'

const QUEUE = 'queue'
const RUN = 'run-1'

let dir: string
let fleet: Fleet
let reader: EventStore | undefined

beforeEach(() => {
  dir = makeDirectory()
  fleet = new Fleet()
})
afterEach(async () => {
  await fleet.killAll()
  await reader?.close()
  reader = undefined
  removeDirectory(dir)
})

async function start(options: Partial<FleetOptions> = {}): Promise<Member> {
  const config = { eventStore: { adapter: 'file' as const, file: { dir } } }
  const [member] = await fleet.start(1, { config, queue: QUEUE, ...options })
  return member as Member
}

/** Kills the process, and starts the next one. */
async function restart(member: Member, options: Partial<FleetOptions> = {}): Promise<Member> {
  await fleet.kill(member)
  return await start(options)
}

/** What is recorded of a run, seen from beside. */
async function follow(runId: string): Promise<Inbox> {
  reader ??= await EventStore.open({ adapter: 'file', file: { dir, readOnly: true } })
  return await Inbox.of(reader, `nq:flow:${runId}`, { after: '0-0' })
}

async function completes(inbox: Inbox): Promise<void> {
  await inbox.first('flow.completed', 25_000)
  const counts: Record<string, number> = {}
  for (const { type } of inbox.events) counts[type] = (counts[type] ?? 0) + 1
  const once = { 'flow.started': 1, 'flow.step.paused': 1, 'trigger.fired': 1, 'flow.step.resumed': 1, emit: 1 }
  expect(counts).toMatchObject({ ...once, 'flow.step.completed': 2, 'flow.completed': 1 })
  expect(inbox.events.filter(({ type }) => /failed|timeout|canceled/.test(type))).toEqual([])
}

const approve = (member: Member) => member.ask({ emit: [`approval-${RUN}`, { by: 'mae' }] })
const startOrder = (member: Member) => member.ask({ start: ['order', { item: 'tea' }, { runId: RUN }] })

test('killed at one point after the other', async () => {
  let member = await start({ hold: 'begin' })
  await startOrder(member)
  const inbox = await follow(RUN)
  await fleet.reached('begin')
  member = await restart(member, { hold: 'after-await' })
  await inbox.first('trigger.awaiting')
  member = await restart(member, { hold: 'after-await' })
  await approve(member)
  await fleet.reached('after-await')
  member = await restart(member, { hold: 'after-emit' })
  await fleet.reached('after-emit')
  member = await restart(member, { hold: 'ship' })
  await fleet.reached('ship')
  await restart(member)
  await completes(inbox)
})

test('killed while the step is suspended', async () => {
  const worker = { suspendAfter: 0 }
  let member = await start({ worker })
  await startOrder(member)
  const inbox = await follow(RUN)
  await inbox.first('flow.step.suspended')
  member = await restart(member, { worker, hold: 'begin' })
  await approve(member)
  await fleet.reached('begin:2')
  await restart(member, { worker })
  await completes(inbox)
})

test('killed, and closed, in the middle of many runs', async () => {
  const runIds = Array.from({ length: 40 }, (_, n) => `run-${n}`)
  let member = await start()
  await Promise.all(runIds.slice(0, 20).map((runId) => member.ask({ start: ['chain', { n: 0 }, { runId }] })))
  member = await restart(member)
  for (const runId of runIds.slice(20)) void member.ask({ start: ['chain', { n: 0 }, { runId }] }).catch(() => {})
  const inbox = await follow(runIds[39] as string)
  await inbox.first('flow.started')
  await member.close()
  fleet.members.delete(member)
  member = await start()
  const completed = async () => {
    const statuses: RunStatus[] = await member.status(runIds)
    return statuses.filter(({ status }) => status === 'completed').length
  }
  await expect.poll(completed, { timeout: 20_000 }).toBe(40)
})
