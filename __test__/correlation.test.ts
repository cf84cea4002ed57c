/** What belongs together over many runs: found, and told in the order of time. */

import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type LogEntry,
  open,
  type QueueCore,
  type StepHandler,
  type TimelinePart,
  type UntypedRecord,
} from '../index.js'
import { collect, type Home, onEveryBackend } from './support/backends.js'
import { refuses } from './support/failure.js'
import { until } from './support/redis.js'
import { Home as Runtime } from './support/runs.js'

const opened: QueueCore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()))
})

/** A core of its own in this place, with flows of one step each. */
async function openCore(home: Home, flows: Record<string, StepHandler>, told: LogEntry[] = []): Promise<QueueCore> {
  const prefix = `nq-${randomUUID().slice(0, 8)}`
  const core = await open({
    eventStore: { ...home.options, prefix },
    jobs: { prefix },
    logging: { routing: 'both', external: { adapter: (entry) => void told.push(entry) } },
  })
  opened.push(core)
  for (const name of Object.keys(flows)) {
    core.flows.define({ name, entry: { step: name, queue: 'q' }, steps: {} })
  }
  if (Object.keys(flows).length > 0) await core.worker('q', flows)
  return core
}

/** Waits until so many runs of a chain have completed, and gives all of them. */
async function completed(core: QueueCore, correlationId: string, count: number) {
  await until(async () => {
    const runs = await core.flows.chain(correlationId)
    return runs.filter(({ status }) => status === 'completed').length === count
  }, `${count} runs of ${correlationId}`)
  return await core.flows.chain(correlationId)
}

const envelopes = (events: UntypedRecord[]) => [...new Set(events.map(({ correlationId }) => correlationId))]

onEveryBackend('a chain', (home) => {
  const order: StepHandler = async (_, ctx) => {
    ctx.logger.info('ordering')
    await ctx.state.set('ordered', true)
    await ctx.flow.start('bill', { of: ctx.runId })
    await ctx.flow.start('ship')
  }
  const bill: StepHandler = async (_, ctx) => {
    ctx.logger.info('billing')
    await ctx.flow.start('mail')
  }
  const say: StepHandler = (_, ctx) => ctx.logger.info(`${ctx.flowName}ing`)
  const flows = { order, bill, ship: say, mail: say }

  test('is all that came of a run, with every event and line of it', async () => {
    const told: LogEntry[] = []
    const core = await openCore(home, flows, told)
    const { runId } = await core.flows.start('order')
    await core.flows.start('ship')
    const runs = await completed(core, runId, 4)
    expect(runs.map(({ flowName }) => flowName).sort()).toEqual(['bill', 'mail', 'order', 'ship'])
    expect(runs[0]).toMatchObject({ runId, correlationId: runId, flowName: 'order' })
    const [bill, mail] = ['bill', 'mail'].map((name) => runs.find(({ flowName }) => flowName === name))
    expect(bill).toMatchObject({ triggeredBy: 'order/order', causationId: `${runId}__order__attempt-1` })
    expect(mail).toMatchObject({ correlationId: runId, causationId: `${bill?.runId}__bill__attempt-1` })

    const events: UntypedRecord[] = await collect(core.flows.trace(runId))
    expect(envelopes(events)).toEqual([runId])
    expect(new Set(events.map((event) => event.runId))).toEqual(new Set(runs.map((run) => run.runId)))
    const instants = events.map(({ timestamp }) => timestamp)
    expect(instants).toEqual(instants.toSorted())
    for (const run of runs) {
      const own = events.filter((event) => event.runId === run.runId)
      expect(own).toEqual(await core.flows.timeline(run.runId))
    }
    const lines = await core.logs.query({ correlationId: runId })
    expect(lines.map(({ message }) => message).sort()).toEqual(['billing', 'mailing', 'ordering', 'shiping'])
    expect(told.filter(({ correlationId }) => correlationId === runId)).toHaveLength(4)
    expect(told).toHaveLength(5)
  })

  test('has the name that it was given', async () => {
    const core = await openCore(home, flows)
    const options = { correlationId: 'order-7', causationId: 'message-1' }
    const { runId } = await core.flows.start('order', {}, options)
    await core.flows.start('ship', {}, { correlationId: 'order-7' })
    const runs = await completed(core, 'order-7', 5)
    expect(runs[0]).toMatchObject({ runId, ...options })
    expect(await core.flows.chain(runId)).toEqual([])
    expect((await core.logs.query({ correlationId: 'order-7', contains: 'ship' })).length).toBe(2)
  })

  test('is what a firing has led to', async () => {
    const core = await openCore(home, flows)
    await core.triggers.subscribe('paid', 'ship')
    await core.triggers.subscribe('paid', 'bill')
    const { fireId, runs } = await core.emitTrigger('paid', {})
    const chain = await completed(core, fireId, 3)
    expect(chain.map(({ runId }) => runId)).toEqual(expect.arrayContaining(runs.map(({ runId }) => runId)))
    const [started] = await core.flows.timeline(runs[0]?.runId as string)
    expect(started).toMatchObject({ type: 'flow.started', correlationId: fireId, causationId: fireId })
  })

  test('that is long is traced in order, run by run as they overlap', async () => {
    const core = await openCore(home, {})
    core.flows.define({ name: 'f', entry: { step: 's', queue: 'nobody' }, steps: {} })
    const runs: string[] = []
    for (let n = 0; n < 20; n++) {
      const { runId } = await core.flows.start('f', n, { correlationId: 'long' })
      runs.push(runId)
      for (const each of runs) await core.flows.emit(each, 'tick', { n })
    }
    const events: UntypedRecord[] = await collect(core.flows.trace('long', { include: ['steps'] }))
    expect(events).toHaveLength(20 + (20 * 21) / 2)
    const keys = events.map(({ id }) => id.split('-').map(Number) as [number, number])
    expect(keys.every(([ms], n) => n === 0 || ms >= (keys[n - 1]?.[0] as number))).toBe(true)
    // Who has enough stops.
    for await (const event of core.flows.trace('long')) {
      expect(event.type).toBe('flow.started')
      break
    }
    expect(await collect(core.flows.trace('nothing'))).toEqual([])
  })
})

describe('a step that is executed again', () => {
  test('starts the runs again that it started before, after an await and in another try', async () => {
    const home = await Runtime.open()
    home.core.flows.define({ name: 'child', entry: { step: 's', queue: 'nobody' }, steps: {} })
    const ids: string[][] = []
    const run = await home.run(
      async (_, ctx) => {
        const one = await ctx.flow.start('child', 1)
        await ctx.await.time('1h')
        const two = await ctx.flow.start('child', 2)
        ids.push([one.runId, two.runId])
        if (ctx.attempt === 1) throw new Error('once more')
      },
      { step: { maxAttempts: 2 } },
    )
    await home.clock.advance('2h')
    expect((await run.status()).status).toBe('completed')
    expect(ids).toHaveLength(2)
    expect(ids[0]).toEqual(ids[1])
    expect(new Set(ids[0]).size).toBe(2)
    const children = await home.core.flows.runs('child')
    expect(children.map(({ runId }) => runId).sort()).toEqual(ids[0]?.toSorted())
    expect(await home.core.flows.chain(run.runId)).toHaveLength(3)
  })

  test('or has ended starts nothing', async () => {
    const home = await Runtime.open()
    let late: (() => Promise<unknown>) | undefined
    await home.run((_, ctx) => {
      late = () => ctx.flow.start('child')
    })
    await refuses(() => late?.(), 'NQ_CONFLICT', 'too late')
  })

  test('fails for a flow that there is not, and for options that there are not', async () => {
    const home = await Runtime.open()
    const unknown = await home.run((_, ctx) => ctx.flow.start('nothing'))
    expect(await unknown.error()).toContain('nothing')
    const odd = await home.run((_, ctx) => ctx.flow.start('nothing', 1, { parent: 'x' } as never))
    expect(await odd.error()).toContain('parent')
  })
})

test('a timeline has the parts that are asked for', async () => {
  const home = await Runtime.open()
  const run = await home.run(async (_, ctx) => {
    ctx.logger.info('m')
    await ctx.state.set('k', 1)
    await ctx.flow.await('paid', { timeout: '1h', onTimeout: 'resume' })
  })
  await home.core.store.append(run.stream, { type: 'order.paid', data: 1 } as never)
  const types = async (...include: TimelinePart[]) =>
    (await home.core.flows.timeline(run.runId, { include })).map(({ type }): string => type)
  expect(await types('logs')).toEqual(['log.info'])
  expect(await types('state', 'triggers')).toEqual(['state.set', 'trigger.awaiting'])
  expect(await types('steps')).toEqual(['flow.started', 'flow.step.started', 'flow.step.paused'])
  const all = await home.core.flows.timeline(run.runId)
  expect(all).toHaveLength(7)
  expect(await home.core.flows.timeline('nobody')).toEqual([])
})

test('what is malformed is refused', async () => {
  const { core } = await Runtime.open()
  const { flows } = core
  flows.define({ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} })
  await refuses(() => flows.start('f', 1, { correlationId: 7 as never }), 'NQ_VALIDATION', 'correlationId')
  await refuses(() => flows.start('f', 1, { correlationId: '' }), 'NQ_INVALID_EVENT', 'correlationId')
  await refuses(() => flows.start('f', 1, { causationId: 'x'.repeat(513) }), 'NQ_INVALID_EVENT', 'causationId')
  expect(await flows.runs('f')).toEqual([])
  await refuses(() => flows.chain(7 as never), 'NQ_VALIDATION', 'correlationId')
  await refuses(() => flows.trace(7 as never), 'NQ_VALIDATION', 'correlationId')
  await refuses(() => flows.trace('c', { include: ['metrics' as never] }), 'NQ_VALIDATION', 'include')
  await refuses(() => flows.timeline('r', { include: 'logs' as never }), 'NQ_VALIDATION', 'include')
  await refuses(() => flows.timeline('r', { order: 'desc' } as never), 'NQ_VALIDATION', 'order')
})
