/** Schedules through JavaScript: they start runs at their instants, by one timer, whoever registers them. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { open, type QueueCore, type ScheduleOptions, type TriggerDefinition } from '../index.js'
import { VirtualClock } from '../testing.js'
import { refuses } from './support/failure.js'
import { type RedisServer, startRedis } from './support/redis.js'
import { Home } from './support/runs.js'

const nightly = (members: Partial<TriggerDefinition> = {}): TriggerDefinition => ({
  name: 'nightly',
  type: 'schedule',
  schedule: { cron: '30 2 * * *', timezone: 'Europe/Berlin' },
  ...members,
})

/** A core whose flow `f` returns its input, and runs whenever `nightly` fires. */
async function home(): Promise<Home> {
  const opened = await Home.open()
  await opened.clock.set('2025-03-28T12:00:00Z')
  opened.core.flows.define({
    name: 'f',
    entry: { step: 's', queue: 'q' },
    steps: {},
    triggers: { subscribe: ['nightly'] },
  })
  await opened.core.worker('q', { s: async (input) => input })
  return opened
}

const times = async (core: QueueCore, name = 'nightly') =>
  (await core.triggers.runs(name)).map(({ scheduledTime }) => scheduledTime).reverse()

test('a schedule starts a run at each of its instants, with the time for its input', async () => {
  const { core, clock } = await home()
  await core.triggers.register(nightly())
  await clock.set('2025-03-31T12:00:00Z')
  // On the 30th there is no half past two.
  const expected = ['2025-03-29T01:30:00.000Z', '2025-03-30T01:00:00.000Z', '2025-03-31T00:30:00.000Z']
  expect(await times(core)).toEqual(expected)
  const [firing] = await core.triggers.runs('nightly')
  expect(firing).toMatchObject({ status: 'processed', delayMs: 0, data: { scheduledTime: expected[2] } })
  const [ended] = await core.store.query({ stream: `nq:flow:${firing?.runs[0]?.runId}`, types: ['flow.completed'] })
  expect(ended?.data.result).toEqual({ scheduledTime: expected[2] })
})

test('its data is the payload, also when a person runs it now', async () => {
  const { core, clock } = await home()
  await core.triggers.register(nightly({ data: { report: 'daily' } }))
  await clock.advance('1d')
  const { runs } = await core.triggers.execute('nightly', undefined, { userId: 'u-7' })
  expect(runs).toHaveLength(1)
  expect((await core.triggers.runs('nightly')).map(({ data, userId }) => ({ data, userId }))).toEqual([
    { data: { report: 'daily' }, userId: 'u-7' },
    { data: { report: 'daily' }, userId: undefined },
  ])
})

test('it is paused and resumed, and what it leaves out has a reason', async () => {
  const { core, clock } = await home()
  await core.triggers.register(nightly())
  await core.triggers.disable('nightly')
  await clock.advance('2d')
  await core.triggers.enable('nightly')
  await clock.advance('1d')
  expect(await core.triggers.runs('nightly')).toMatchObject([
    { status: 'processed', scheduledTime: '2025-03-31T00:30:00.000Z' },
    { status: 'skipped', scheduledTime: '2025-03-30T01:00:00.000Z', reason: 'the schedule was disabled', runs: [] },
  ])
})

test('it waits for years', async () => {
  const { core, clock } = await home()
  await core.triggers.register(nightly({ schedule: { cron: '0 0 29 2 *' }, config: { retentionDays: 36_500 } }))
  await clock.set('2033-01-01')
  expect(await times(core)).toEqual(['2028-02-29T00:00:00.000Z', '2032-02-29T00:00:00.000Z'])
})

test.each([
  ['skip', ['awaiting']],
  ['queue', ['awaiting']],
  ['replace', ['awaiting', 'canceled']],
  [undefined, ['awaiting', 'awaiting']],
] as const)('while a run goes on, overlap %s leaves %j', async (overlap, statuses) => {
  const { core, clock } = await Home.open()
  core.flows.define({ name: 'g', entry: { step: 's', queue: 'g' }, steps: {}, triggers: { subscribe: ['tick'] } })
  await core.worker('g', { s: (_input, ctx) => ctx.await.time('90s') })
  await core.triggers.register({ name: 'tick', type: 'schedule', schedule: { interval: '1m', overlap } })
  await clock.advance('2m')
  expect((await core.flows.runs('g')).map(({ status }) => status)).toEqual(statuses)
  await clock.advance('1m')
  // The first run has ended half a minute ago.
  const [last] = await core.flows.runs('g')
  expect(last?.startedAt).toMatch(overlap === 'queue' ? /:3[01]\./ : /:00\./)
})

describe('on Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  test('an instance that is there fires what another has registered, changed or enabled', async () => {
    const clocks = [new VirtualClock('2025-01-01'), new VirtualClock('2025-01-01')] as const
    const eventStore = { adapter: 'redis', redis: { url: server.url } } as const
    const one = await open({ eventStore, clock: clocks[0] })
    const two = await open({ eventStore, clock: clocks[1] })
    const changed = async (change: Promise<void>, to: string) => {
      await change
      await expect.poll(() => JSON.stringify(two.triggers.get('nightly'))).toContain(to)
    }
    await changed(one.triggers.register(nightly({ schedule: { interval: '1h' } })), '1h')
    await clocks[1].advance('1h')
    await changed(one.triggers.update('nightly', { schedule: { interval: '10m' } }), '10m')
    await clocks[1].advance('10m')
    await changed(one.triggers.disable('nightly'), '"enabled":false')
    await clocks[1].advance('10m')
    await clocks[0].advance('80m')
    await changed(one.triggers.enable('nightly'), '"enabled":true')
    await clocks[1].advance('10m')
    expect(
      (await two.triggers.runs('nightly')).map(({ status, scheduledTime }) => `${scheduledTime} ${status}`),
    ).toEqual([
      '2025-01-01T01:30:00.000Z processed',
      '2025-01-01T01:20:00.000Z skipped',
      '2025-01-01T01:10:00.000Z processed',
      '2025-01-01T01:00:00.000Z processed',
    ])
    await one.close()
    await two.close()
  })
})

test('ten thousand schedules need one timer', async () => {
  const { core, clock } = await Home.open()
  const start = clock.now()
  for (let n = 0; n < 10_000; n++) {
    const schedule = { interval: '1h', start: new Date(start + n * 1000).toISOString() }
    await core.triggers.register({ name: `s${n}`, type: 'schedule', schedule })
  }
  await clock.advance('10s')
  const { total } = await core.triggers.stats()
  expect(total).toBe(10)
}, 60_000)

test('a preview names what is odd', async () => {
  const { core, clock } = await home()
  const berlin: ScheduleOptions = { cron: '30 2 * * *', timezone: 'Europe/Berlin' }
  expect(core.triggers.preview(berlin, { from: '2025-03-30', count: 1 })).toEqual([
    { at: '2025-03-30T01:00:00.000Z', local: '2025-03-30T03:00:00+02:00', note: 'gap' },
  ])
  expect(core.triggers.preview(berlin)).toHaveLength(10)
  expect(core.triggers.preview(berlin, { count: 1 })[0]?.at).toBe('2025-03-29T01:30:00.000Z')
  expect(clock.now()).toBe(Date.parse('2025-03-28T12:00:00Z'))
  expect(() => core.triggers.preview({ cron: '61 * * * *' })).toThrow(/minute \(position 1\): 61 is not within 0-59/)
  expect(() => core.triggers.preview(berlin, { count: -1 })).toThrow(/count is -1/)
})

describe('what can not work is refused when it is registered', () => {
  const cron = { cron: '* * * * *' }
  test.each<[string, object, string]>([
    ['no schedule', { schedule: undefined }, 'a schedule needs a schedule'],
    ['a field out of range', { schedule: { cron: '0 24 * * *' } }, 'hour (position 3): 24 is not within 0-23'],
    ['an unknown zone', { schedule: { ...cron, timezone: 'Europe/Berln' } }, 'Europe/Berlin'],
    ['two sources', { schedule: { ...cron, interval: '1h' } }, 'cron and interval contradict one another'],
    ['less than a second', { schedule: { interval: '999ms' } }, 'interval is "999ms"; the shortest is one second'],
    ['a day that never comes', { schedule: { cron: '0 0 30 2 *' } }, 'cron never fires'],
    ['an unknown option', { schedule: { ...cron, zone: 'UTC' } }, 'There is no option "zone"'],
    ['too much to catch up', { schedule: { ...cron, catchUp: 'all', catchUpLimit: 10_001 } }, 'catchUpLimit is 10001'],
    ['a filter', { schedule: cron, config: { filter: () => true } }, 'leave filter out'],
    [
      'a limit',
      { schedule: cron, config: { rateLimit: { max: 1, window: 1000 } } },
      'config.rateLimit is for what comes',
    ],
    ['an endpoint', { schedule: cron, endpoint: { path: '/a' } }, 'only a webhook has an endpoint'],
  ])('%s', async (_name, members, refusal) => {
    const { core } = await Home.open()
    await refuses(() => core.triggers.register(nightly(members as Partial<TriggerDefinition>)), 'NQ_CONFIG', refusal)
    expect(core.triggers.get('nightly')).toBeUndefined()
  })

  test('data of another trigger, and a function that decides on runs', async () => {
    const { core } = await Home.open()
    await refuses(
      () => core.triggers.register({ name: 'e', type: 'event', data: 1 }),
      'NQ_CONFIG',
      'only a schedule has data',
    )
    await core.triggers.register(nightly())
    core.flows.define({ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} })
    const mode = () => 'auto' as const
    await refuses(() => core.triggers.subscribe('nightly', 'f', { mode }), 'NQ_VALIDATION', 'no function is')
  })
})
