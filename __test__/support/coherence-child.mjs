/**
 * A process that writes and reads the state of a few runs at random for a while and prints what it saw, as JSON:
 * `{ acks, reads, stats }`. What is right is for its parent to say, which sees the whole streams.
 */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EventStore } from 'nuxt-queue-core'
import { randomFrom } from './random.js'

/** Few, so that values change all the time; some begin alike, for `list`. */
const KEYS = ['a', 'ab', 'abc', 'b', 'ba', 'c']
/** Only ever patched: it counts its patches. */
const COUNTER = 'count'
/** How often the clock is looked at, in milliseconds. */
const WATCH = 20

const { options, runs, name, seed, ms, loops, writes, maxPause, place } = JSON.parse(process.argv[2])
const store = await EventStore.open(options)
/** The writes that were acknowledged, in this order: `[run, correlationId]`. */
const acks = []
const reads = []
/** Ids of events that this process has seen, by run. */
const seenIds = new Map(runs.map((run) => [run, []]))
let written = 0

/** How long this process was kept from running lately, in milliseconds: so much later it may see what others write. */
const stalls = []
let looked = Date.now()
const watch = setInterval(() => {
  stalls.push(Math.max(0, Date.now() - looked - WATCH))
  if (stalls.length > 1000 / WATCH) stalls.shift()
  looked = Date.now()
}, WATCH)

/** Every two seconds it changes what the processes do. */
const interval = () => Math.floor(Date.now() / 2000)
/**
 * Mostly each run has one writer, and there are no strong reads: both bring a run up to date, and would hide that a
 * process was not told of what others do.
 */
const isCalm = () => interval() % 4 !== 0
/** Half of the time nothing is asked but what memory answers: whatever asks the server is told of changes again. */
const isSilent = () => interval() % 2 === 1

function runToWrite(random) {
  return isCalm() ? runs[(place + interval()) % runs.length] : runs[random.upTo(runs.length)]
}

async function write(run, random) {
  const id = `${name}.${written++}`
  const state = store.state(run, { correlationId: id })
  const key = KEYS[random.upTo(KEYS.length)]
  const kind = random.upTo(10)
  if (kind < 4) await state.set(key, id)
  else if (kind < 6) await state.delete(key)
  else if (kind < 8) await state.setBatch({ [key]: id, [KEYS[random.upTo(KEYS.length)]]: `${id}+` })
  else await state.patch(COUNTER, (count = 0) => count + 1)
  acks.push([run, id])
}

async function read(run, random) {
  const consistency = !isCalm() && random.upTo(3) === 0 ? 'strong' : 'cached'
  const state = store.state(run)
  const kind = random.upTo(isSilent() ? 7 : 10)
  const key = random.upTo(5) === 0 ? COUNTER : KEYS[random.upTo(KEYS.length)]
  const acked = acks.length
  const start = Date.now()
  const note = (what) => {
    const end = Date.now()
    reads.push({ run, consistency, acked, start, end, stalled: Math.max(...stalls, end - looked - WATCH, 0), ...what })
  }
  if (kind < 3) return note({ kind: 'get', key, seen: toText(await state.get(key, { consistency })) })
  if (kind < 4) return note({ kind: 'has', key, seen: toText(await state.has(key, { consistency })) })
  if (kind < 6) return note({ kind: 'getAll', seen: await state.getAll({ consistency }) })
  if (kind < 7) {
    const prefix = ['', 'a', 'b'][random.upTo(3)]
    return note({ kind: 'list', prefix, seen: toText(await state.list(prefix, { consistency })) })
  }
  const ids = seenIds.get(run)
  const known = ids[random.upTo(ids.length)]
  if (kind < 8 && known !== undefined) {
    // An instant that is long enough ago for everything before it to be known everywhere.
    const point = random.upTo(2) === 0 ? known : start - 2000
    return note({ kind: 'at', point, seen: await state.at(point) })
  }
  const query = toQuery(known, random)
  const records = await store.query({ stream: `nq:flow:${run}`, consistency, ...query })
  for (const { id } of records) ids.push(id)
  ids.splice(0, ids.length - 50)
  note({ kind: 'query', query, ids: records.map(({ id }) => id), digest: digest(records) })
}

function toQuery(known, random) {
  const types = [undefined, ['state.set'], ['state.*']][random.upTo(3)]
  const kind = random.upTo(20)
  if (kind === 0 || known === undefined) return { types }
  return kind < 10 ? { types, after: known } : { types, order: 'desc', limit: 1 + random.upTo(20) }
}

const toText = (value) => JSON.stringify(value) ?? 'undefined'
const digest = (records) => createHash('sha1').update(JSON.stringify(records)).digest('hex')

async function work(loop) {
  const random = randomFrom(seed * 100 + loop)
  const end = Date.now() + ms
  while (Date.now() < end) {
    if (random.upTo(100) < writes) await write(runToWrite(random), random)
    else await read(runs[random.upTo(runs.length)], random)
    await sleep(random.upTo(maxPause))
  }
}

await Promise.all(Array.from({ length: loops }, (_, loop) => work(loop)))
clearInterval(watch)
const stats = store.stats()
await store.close()
process.stdout.write(JSON.stringify({ acks, reads, stats }))
