/**
 * State by name, wherever it is kept.
 */

import { toJson } from '../json.js'
import { invalid } from '../query.js'

/** Names and values. `undefined`: there is none. */
export interface KeyedState {
  get(name: string): Promise<unknown>
  set(name: string, value: unknown, options?: { ttl?: number }): Promise<void>
  delete(name: string): Promise<void>
  /** The names that begin with a prefix, in ascending order. */
  list(prefix: string): Promise<string[]>
  /** Sets what `update` makes of the present value; concurrent ones lose nothing. */
  patch(name: string, update: (previous: unknown) => unknown): Promise<unknown>
}

/** Throws `NQ_VALIDATION` or `NQ_INVALID_EVENT` for what can't be a value, or a time to live. */
export function checkChange(value: unknown, ttl?: number): void {
  if (value === undefined) throw invalid('value', value, 'a JSON value; use delete to remove a key')
  toJson(value, 'value')
  if (ttl !== undefined && !(Number.isFinite(ttl) && ttl > 0)) throw invalid('ttl', ttl, 'milliseconds above 0')
}
