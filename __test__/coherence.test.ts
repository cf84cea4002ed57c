/**
 * Several processes, each with a store and a cache of its own, write and read the same runs at random, while their
 * connections are killed. P3: every read sees the fold of a prefix, of one that is new enough. P4: so does every
 * snapshot. P5: `at` is the fold of the prefix that it names.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { EventStore, type UntypedRecord } from '../index.js'
import {
  type Delay,
  faultsOf,
  gapsBetweenSnapshots,
  type Report,
  type Task,
  type Truth,
  work,
  wrongSnapshots,
} from './support/coherence.js'
import { command, type RedisServer, startRedis } from './support/redis.js'
import { Timeline, textOf } from './support/timeline.js'

const SNAPSHOT_EVERY = 20
/** How late another process's write may be seen, in milliseconds. */
const DELAY = 250
/** The same around the moment when a connection is lost. */
const DELAY_AFTER_LOSS = 1000
const MS = Number(process.env.NQ_COHERENCE_MS ?? 6000)
const SEED = Number(process.env.NQ_COHERENCE_SEED ?? Date.now() % 1_000_000)

/** A number of processes on one server, and what disturbs them. */
class Play {
  /** When connections were lost, from and to. */
  readonly losses: Array<[from: number, to: number]> = []
  reports: Report[] = []

  constructor(
    readonly server: RedisServer,
    readonly runs: string[],
  ) {}

  /** Lets so many children work, and disturbs them meanwhile. */
  async act(processes: number, task: Partial<Task>, disturb: (until: number) => Promise<void> = async () => {}) {
    const tasks = Array.from({ length: processes }, (_, index) => ({
      options: { adapter: 'redis' as const, redis: { url: this.server.url }, snapshotEvery: SNAPSHOT_EVERY },
      runs: this.runs,
      name: `p${index}`,
      seed: SEED + index,
      ms: MS,
      loops: 3,
      writes: 35,
      maxPause: 12,
      place: index,
      ...task,
    }))
    const [reports] = await Promise.all([Promise.all(tasks.map(work)), disturb(Date.now() + MS)])
    this.reports = reports
  }

  /** Kills connections of this type now and then. */
  async kill(types: string[], until: number): Promise<void> {
    for (let n = 0; Date.now() < until - 2200; n++) {
      await sleep(1500 + ((SEED + n * 131) % 700))
      await this.lose(() => command(this.server, 'CLIENT', 'KILL', 'TYPE', types[n % types.length] as string))
    }
  }

  async lose(cut: () => Promise<unknown>): Promise<void> {
    const from = Date.now()
    await cut()
    this.losses.push([from, Date.now()])
  }

  readonly #delay: Delay = (from, to) => {
    const isLost = this.losses.some(([lost, back]) => lost <= to && back >= from - DELAY_AFTER_LOSS)
    return isLost ? DELAY_AFTER_LOSS : DELAY
  }

  async truths(): Promise<Map<string, Truth>> {
    const truths = new Map<string, Truth>()
    const store = await EventStore.open({
      adapter: 'redis',
      redis: { url: this.server.url },
      cache: { enabled: false },
      snapshotEvery: 0,
    })
    for (const run of this.runs) {
      const stream = `nq:flow:${run}`
      const timeline = await Timeline.read(this.server, stream)
      const records: UntypedRecord[] = await store.query({ stream })
      expect(records.map(({ id }) => id)).toEqual(timeline.entries.map(({ id }) => id))
      expect(textOf(await store.state(run).getAll())).toBe(timeline.shown('all', textOf).at(-1))
      truths.set(run, { timeline, records })
    }
    await store.close()
    return truths
  }

  /** Checks all that was promised of the reads, the writes and the snapshots. */
  async check(): Promise<Timeline[]> {
    const truths = await this.truths()
    const timelines = [...truths.values()].map(({ timeline }) => timeline)
    expect(timelines.flatMap(wrongSnapshots).slice(0, 5), `seed ${SEED}`).toEqual([])
    this.#checkWrites(timelines)
    const faults = this.reports.flatMap((report) => faultsOf(report, truths, this.#delay))
    const reads = this.reports.reduce((sum, report) => sum + report.reads.length, 0)
    const of = `${faults.length} of ${reads} reads, seed ${SEED}`
    expect(faults.slice(0, 5), of).toEqual([])
    expect(reads, of).toBeGreaterThan(100)
    const hits = this.reports.reduce((sum, { stats }) => sum + (stats.hits as number), 0)
    expect(hits, 'reads from memory').toBeGreaterThan(reads / 10)
    return timelines
  }

  /** Each acknowledged write is there once, and no patch has overwritten another. */
  #checkWrites(timelines: Timeline[]): void {
    const stored = timelines.flatMap(({ entries }) => entries.map(({ correlationId }) => correlationId))
    const times = new Map<string | undefined, number>()
    for (const id of stored) times.set(id, (times.get(id) ?? 0) + 1)
    const acks = this.reports.flatMap((report) => report.acks)
    expect(acks.filter(([, id]) => times.get(id) !== 1)).toEqual([])
    for (const timeline of timelines) {
      const patches = timeline.entries.filter(({ type, data }) => type === 'state.set' && data.key === 'count')
      expect(patches.map(({ data }) => data.value)).toEqual(patches.map((_, index) => index + 1))
    }
  }
}

/** Plays on a server of its own. */
async function play(runs: number, act: (play: Play) => Promise<void>, server = startRedis()): Promise<void> {
  const redis = await server
  try {
    await act(
      new Play(
        redis,
        Array.from({ length: runs }, (_, n) => `run-${n}`),
      ),
    )
  } finally {
    await redis.stop()
  }
}

describe('P3, P4, P5: processes that write and read the same runs', () => {
  test('two, whose connections are killed', () =>
    play(3, async (play) => {
      await play.act(2, {}, (until) => play.kill(['normal', 'pubsub'], until))
      expect(play.losses.length).toBeGreaterThan(0)
      const timelines = await play.check()
      for (const timeline of timelines) expect(gapsBetweenSnapshots(timeline).length).toBeGreaterThan(0)
    }))

  test('four, whose server dies and comes back', () =>
    play(
      3,
      async (play) => {
        await play.act(4, {}, async (until) => {
          await sleep(MS / 3)
          // Once: what a dying server leaves of a script in its file may come back at the second start.
          await play.lose(() => play.server.restart())
          await play.kill(['normal'], until)
        })
        await play.check()
      },
      startRedis({ appendfsync: 'always' }),
    ))

  test('four that do little else than write to one run, undisturbed: snapshots come, and no more than one an interval', () =>
    play(1, async (play) => {
      await play.act(4, { writes: 70, maxPause: 10 })
      const [timeline] = await play.check()
      const gaps = gapsBetweenSnapshots(timeline as Timeline)
      expect(gaps.filter((gap) => gap < SNAPSHOT_EVERY * 0.9)).toEqual([])
      expect(gaps.length).toBeGreaterThan(3)
      const written = play.reports.reduce((sum, { stats }) => sum + (stats.snapshots as number), 0)
      expect(written).toBe(timeline?.entries.filter(({ type }) => type === 'state.snapshot').length)
    }))
})
