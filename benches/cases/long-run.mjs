// The first read of a run by a store that knows nothing of it, and its state half-way back: with snapshots
// neither should depend on how long the run is. Every read is that of a store just opened.

import { BaselineRedisFold } from '../baseline/redis-fold.mjs'
import { checkState } from '../check.mjs'
import { fillRun } from '../long-stream.mjs'
import { CORE, openCoreOnRedis } from '../subjects.mjs'
import { expectedState, stateKey } from '../workload.mjs'

// The last snapshot lies half an interval before the end: the mean of what a reader meets.
const FULL = [1_500, 100_500, 1_000_500]
const QUICK = [1_500, 10_500, 50_500]
const MANY = 500_000

/** One interval of snapshots and one page of a read. */
const MOST_READ = 2_000

/** @param {{ redis: { port: number }, scale: number }} context */
export function longRunBenchmarks({ redis: { port }, scale }) {
  const lengths = scale < 1 ? QUICK : FULL
  const runs = lengths.map((count) => ({ count, fill: filledOnce(port, count) }))
  return [
    ...runs.map((run) => firstRead(run, 'cold state', [foldAll(port), getAll(port), getOne(port, run.count)])),
    ...runs.map((run) => firstRead(run, 'state.at half-way', [foldHalf(port), getHalf(port)])),
  ]
}

function firstRead({ count, fill }, what, variants) {
  const name = `${what}, run of ${count.toLocaleString('en-US')} state events`
  const isLong = count > MANY
  let run
  return {
    name,
    needsCore: true,
    ...(isLong && { rounds: 7, warmUps: 0 }),
    variants,
    setUp: async () => {
      run = await fill()
    },
    prepare: ({ openReader }) => openReader(),
    work: (subject, reader) => subject.read(reader, run),
    check: async (subject, reader, { state }) => {
      checkState(state, subject.expected(run))
      await reader.close()
    },
    metrics: [
      { name, unit: 'ms', better: 'lower', value: (ms) => ms },
      { name: `${name}, read`, unit: 'events', better: 'lower', value: (_, { read }) => read, below: MOST_READ },
    ],
  }
}

const whole = ({ count }) => expectedState(count)
const half = ({ middle }) => expectedState(middle.index + 1)

function foldAll(port) {
  return byHand(port, ({ stream }) => [stream], whole)
}

function foldHalf(port) {
  return byHand(port, ({ stream, middle }) => [stream, middle.id], half)
}

function getAll(port) {
  return byCore(port, 'getAll', (state) => state.getAll(), whole)
}

function getOne(port, count) {
  const key = stateKey(count - 1)
  const read = async (state) => ({ [key]: await state.get(key) })
  return byCore(port, 'get', read, () => ({ [key]: count - 1 }))
}

function getHalf(port) {
  return byCore(port, 'at', (state, { middle }) => state.at(middle.id), half)
}

function byHand(port, range, expected) {
  const read = async (reader, run) => {
    const { state, entries } = await reader.fold(...range(run))
    return { state, read: entries }
  }
  return variant('ioredis, XRANGE, folded by hand', { openReader: () => BaselineRedisFold.open(port), read, expected })
}

function byCore(port, method, readState, expected) {
  const read = async (store, run) => {
    const state = await readState(store.run(run.runId), run)
    return { state, read: store.stats().eventsRead }
  }
  const subject = { openReader: () => openCoreOnRedis(port), read, expected }
  return { ...variant(`${CORE}, ${method}`, subject), core: true }
}

/** Readers are opened anew for each round; the subject itself holds nothing. */
function variant(name, subject) {
  return { name, open: async () => ({ ...subject, close: async () => {} }) }
}

function filledOnce(port, count) {
  let run
  return () => {
    run ??= fillRun(port, `long-${count}`, count)
    return run
  }
}
