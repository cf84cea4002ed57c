/**
 * The reducers for events that JavaScript already holds.
 */

import type * as surface from '../index.js'
import { unwrap } from './errors.js'
import { toJson } from './json.js'
import { native } from './native.js'
import { invalid } from './query.js'
import { toMs, toPoint } from './time.js'

type Data = Record<string, unknown>

/** RFC 3339 with a zone; anything else in `expiresAt` means nothing. */
const EXPIRY = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$/i

/**
 * Folds state events. In JavaScript, because handing the events to the native side would cost more than folding them;
 * `src/state/fold.rs` does the same for events in a store.
 */
export function reduceState(events: readonly surface.StateEvent[], options: { at?: surface.Point } = {}): Data {
  if (!Array.isArray(events)) throw invalid('events', events, 'an array')
  const at = options.at === undefined ? undefined : toCut(options.at)
  const fold = new Fold()
  for (const event of events as surface.StateEvent[]) {
    if (at === undefined || !isAfter(event, at)) fold.take(event)
  }
  return fold.values(at?.ms)
}

class Fold {
  #values = new Map<string, unknown>()
  #expiries = new Map<string, number>()

  take({ type, data }: surface.StateEvent): void {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return
    switch (type) {
      case 'state.set':
        return this.#set(data as Data)
      case 'state.delete':
        return this.#delete(data as Data)
      case 'state.batch':
        return this.#batch((data as Data).operations)
      case 'state.snapshot':
        return this.#replace(data as Data)
      case 'state':
        return this.#operate((data as Data).operation, data as Data)
    }
  }

  /** Keys and values, without what has expired at an instant. */
  values(atMs: number | undefined): Data {
    if (atMs !== undefined) {
      for (const [key, expiry] of this.#expiries) if (expiry <= atMs) this.#values.delete(key)
    }
    return Object.fromEntries(this.#values)
  }

  #set({ key, value, expiresAt }: Data): void {
    if (typeof key !== 'string' || !key.isWellFormed()) return
    if (this.#expiries.size > 0) this.#expiries.delete(key)
    if (value === undefined) {
      this.#values.delete(key)
      return
    }
    this.#values.set(key, value)
    if (typeof expiresAt === 'string' && EXPIRY.test(expiresAt)) this.#expiries.set(key, Date.parse(expiresAt))
  }

  #delete({ key }: Data): void {
    if (typeof key !== 'string') return
    this.#values.delete(key)
    this.#expiries.delete(key)
  }

  #batch(operations: unknown): void {
    if (!Array.isArray(operations)) return
    for (const operation of operations) {
      if (typeof operation === 'object' && operation !== null) this.#operate(operation.type, operation)
    }
  }

  #operate(operation: unknown, data: Data): void {
    if (operation === 'set') this.#set(data)
    else if (operation === 'delete') this.#delete(data)
  }

  #replace(data: Data): void {
    this.#values = new Map(Object.entries(data))
    this.#expiries.clear()
  }
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
  return JSON.parse(unwrap(native.reduceRun(toJson(events, 'events') ?? '[]')))
}
