/**
 * The reducers for events that JavaScript already holds.
 */

import type * as surface from '../index.js'
import { unwrap } from './errors.js'
import { toJson } from './json.js'
import { native } from './native.js'
import { checkOptions, invalid } from './query.js'
import { toMs, toPoint } from './time.js'

type Data = Record<string, unknown>

/** RFC 3339 with a zone; anything else in `expiresAt` means nothing. */
const EXPIRY = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$/i

const ORDINARY = { enumerable: true, configurable: true, writable: true }

/**
 * Folds state events. In JavaScript, because handing the events to the native side would cost more than folding them;
 * `src/run/state.rs` does the same for events in a store.
 */
export function reduceState(events: readonly surface.StateEvent[], options: { at?: surface.Point } = {}): Data {
  if (!Array.isArray(events)) throw invalid('events', events, 'an array')
  checkOptions(options, ['at'])
  const at = options.at === undefined ? undefined : toCut(options.at)
  let values: Data = {}
  let expiries: Map<string, number> | undefined

  const forget = (key: string) => {
    delete values[key]
    expiries?.delete(key)
  }
  const set = ({ key, value, expiresAt }: Data) => {
    if (typeof key !== 'string') return
    if (value === undefined) return forget(key)
    // The one name that an assignment takes for something else.
    if (key === '__proto__') Object.defineProperty(values, key, { value, ...ORDINARY })
    else values[key] = value
    if (expiries !== undefined) expiries.delete(key)
    if (expiresAt !== undefined) expire(key, expiresAt)
  }
  const expire = (key: string, expiresAt: unknown) => {
    if (typeof expiresAt !== 'string' || !EXPIRY.test(expiresAt)) return
    expiries ??= new Map()
    expiries.set(key, Date.parse(expiresAt))
  }
  const operate = (operation: unknown, data: Data) => {
    if (operation === 'set') set(data)
    else if (operation === 'delete' && typeof data.key === 'string') forget(data.key)
  }

  for (const event of events as surface.StateEvent[]) {
    if (typeof event !== 'object' || event === null) throw invalid('An event', event, 'an object')
    const { type } = event
    const data = event.data as Data
    if (typeof data !== 'object' || data === null) continue
    if (at !== undefined && isAfter(event, at)) continue
    if (type === 'state.set') {
      const { key, value, expiresAt } = data
      const isOrdinary = typeof key === 'string' && key !== '__proto__' && value !== undefined
      // Most events are of this kind: no more than an assignment.
      if (isOrdinary && expiresAt === undefined && expiries === undefined) values[key] = value
      else set(data)
      continue
    }
    if (Array.isArray(data)) continue
    switch (type) {
      case 'state.delete':
        operate('delete', data)
        break
      case 'state.batch':
        for (const operation of toObjects(data.operations)) operate(operation.type, operation)
        break
      case 'state.snapshot':
        values = { ...data }
        expiries = undefined
        break
      case 'state':
        operate(data.operation, data)
    }
  }
  if (at !== undefined) for (const [key, expiry] of expiries ?? []) if (expiry <= at.ms) delete values[key]
  for (const key in values) if (!key.isWellFormed()) delete values[key]
  return values
}

function toObjects(operations: unknown): Data[] {
  if (!Array.isArray(operations)) return []
  return operations.filter((operation) => typeof operation === 'object' && operation !== null)
}

interface Cut {
  ms: number
  id?: [bigint, bigint]
}

function toCut(point: surface.Point): Cut {
  const { ms, id } = toPoint(point, 'at')
  if (id === undefined) return { ms: ms as number }
  const parts = splitId(id)
  return { ms: Number(parts[0]), id: parts }
}

function splitId(id: string): [bigint, bigint] {
  const dash = id.indexOf('-')
  return [BigInt(id.slice(0, dash)), BigInt(id.slice(dash + 1))]
}

/** By the id; by the timestamp where there is none. */
function isAfter({ id, timestamp }: surface.StateEvent, cut: Cut): boolean {
  if (id === undefined) return timestamp !== undefined && toMs(timestamp, 'timestamp') > cut.ms
  const [ms, seq] = splitId(id)
  if (cut.id === undefined) return ms > cut.ms
  return ms === cut.id[0] ? seq > cut.id[1] : ms > cut.id[0]
}

/** Folds the events of a run into its status. */
export function reduceRun(events: readonly surface.UntypedRecord[]): surface.RunStatus {
  if (!Array.isArray(events)) throw invalid('events', events, 'an array of records')
  return JSON.parse(unwrap(native.reduceRun(toText(events))))
}

function toText(events: readonly surface.UntypedRecord[]): string {
  try {
    return JSON.stringify(events)
  } catch {
    // It knows the place, and says so.
    return toJson(events, 'events') ?? '[]'
  }
}
