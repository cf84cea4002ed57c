// What was stored, read and delivered is checked after every round, outside the timed part.
// A wrong result ends the benchmark: speed is worth nothing then.

const ANNOUNCE_LIMIT_MS = 5_000
/** The type of events that a store writes by itself. */
export const SNAPSHOT = 'state.snapshot'

/**
 * Looks with a plain client that the stream holds exactly these events, in this order.
 *
 * @param {import('ioredis').Redis} inspector
 * @param {string} stream
 * @param {object[]} events
 */
export async function checkStored(inspector, stream, events) {
  const entries = await inspector.xrange(stream, '-', '+')
  const records = entries.map(([id, pairs]) => ({ id, ...envelopeOf(pairs) }))
  checkRecords(records, events)
}

/**
 * @param {object[]} allRecords as a store handed them out
 * @param {object[]} events as they went in
 */
export function checkRecords(allRecords, events) {
  // Snapshots come by themselves, and are part of what is measured.
  const records = allRecords.filter(({ type }) => type !== SNAPSHOT)
  checkCount('events', records.length, events.length)
  let previous = '0-0'
  for (const [i, record] of records.entries()) {
    checkRecord(record, events[i], i)
    // The original's ids in memory end at random: there the order is that of the positions alone.
    const isOrdered = !/^\d+-\d{1,6}$/.test(record.id) || isAfter(record.id, previous)
    if (!isOrdered) throw new Error(`id ${record.id} of event ${i} does not follow ${previous}`)
    previous = record.id
  }
}

/** @param {number[]} values `data.value` of each event, as delivered */
export function checkDelivered(values, count) {
  checkCount('deliveries', values.length, count)
  const wrong = values.findIndex((value, i) => value !== i)
  if (wrong !== -1) throw new Error(`delivery ${wrong} is event ${values[wrong]}`)
}

export function checkState(actual, expected) {
  checkCount('keys', Object.keys(actual).length, Object.keys(expected).length)
  for (const key of Object.keys(expected)) checkValue(key, actual[key], expected[key])
}

export function checkValue(key, actual, expected) {
  if (actual !== expected) throw new Error(`${key} is ${actual}, expected ${expected}`)
}

/** How many PUBLISH the server has carried out, scripts' own included. */
export async function countAnnouncements(inspector) {
  const stats = await inspector.info('commandstats')
  return Number(/cmdstat_publish:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

/**
 * An append may resolve shortly before its announcement is carried out, hence the patience. There may be more: snapshots
 * are announced, too.
 */
export async function checkAnnounced(inspector, before, count) {
  const deadline = Date.now() + ANNOUNCE_LIMIT_MS
  let seen = (await countAnnouncements(inspector)) - before
  while (seen < count && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    seen = (await countAnnouncements(inspector)) - before
  }
  if (seen < count) checkCount('announcements', seen, count)
}

function checkRecord(record, event, index) {
  for (const name of ['type', 'runId', 'flowName', 'stepName', 'stepId', 'attempt']) {
    if (record[name] !== event[name])
      throw new Error(`event ${index}: ${name} is ${record[name]}, expected ${event[name]}`)
  }
  checkValue(`event ${index}: data.key`, record.data.key, event.data.key)
  checkValue(`event ${index}: data.value`, record.data.value, event.data.value)
}

function checkCount(what, actual, expected) {
  if (actual !== expected) throw new Error(`${actual} ${what}, expected ${expected}`)
}

function envelopeOf(pairs) {
  const fields = {}
  for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1]
  return { ...fields, attempt: Number(fields.attempt), data: JSON.parse(fields.data) }
}

function isAfter(id, previous) {
  const [ms, sequence] = id.split('-').map(Number)
  const [previousMs, previousSequence] = previous.split('-').map(Number)
  return ms > previousMs || (ms === previousMs && sequence > previousSequence)
}
