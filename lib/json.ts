/**
 * What JSON can't hold is refused with the path to it, instead of being lost or changed without a word.
 */

import { NuxtQueueError } from './errors.js'

const MAX_DEPTH = 500

/** More than fits into one text. Counted, because a few objects that share others can stand for billions. */
const MAX_VALUES = 2 ** 26

/** Objects and items of arrays that the quick check of the present value has seen. */
let seen = 0

/** `JSON.stringify` for payloads; `undefined` gives `undefined`. */
export function toJson(value: unknown, path: string): string | undefined {
  if (!isPlainIfReadable(value)) {
    if (seen > MAX_VALUES) throw refused(path, `has more than ${MAX_VALUES} values`)
    explainTo(toJson, value, path)
  }
  return read(path, () => JSON.stringify(value))
}

/** Whether JSON holds all of a value, so that {@link toJson} takes it. */
export function isStrictJson(value: unknown): boolean {
  return isPlainIfReadable(value)
}

function isPlainIfReadable(value: unknown): boolean {
  seen = 0
  try {
    return isPlain(value, 0)
  } catch {
    // A getter, a toJSON or a proxy failed. Reading it again, slowly, finds the place.
    return false
  }
}

/** The stack of the error begins with the caller: it has no room for every level of the value. */
function explainTo(caller: typeof toJson, value: unknown, path: string): void {
  try {
    explain(value, path, new Set())
  } catch (error) {
    Error.captureStackTrace(error as Error, caller)
    throw error
  }
}

/** Runs what may be code of the caller: getters, toJSON, the traps of a proxy. */
function read<T>(path: string, look: () => T): T {
  try {
    return look()
  } catch (cause) {
    throw refused(path, `can't be read (${cause instanceof Error ? cause.message : String(cause)})`, cause)
  }
}

/** The quick check. Whatever it refuses is looked at again, slowly, for the message. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true
    case 'number':
      return Number.isFinite(value)
    case 'object':
      break
    default:
      return false
  }
  if (value === null) return true
  if (depth >= MAX_DEPTH || ++seen > MAX_VALUES) return false
  if (Array.isArray(value)) {
    seen += value.length
    if (seen > MAX_VALUES) return false
    for (let index = 0; index < value.length; index++) if (!isPlain(value[index], depth + 1)) return false
    return true
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return isPlainBesideItself(value, depth)
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null && lossyKind(value) !== undefined) return false
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
  return true
}

/** Objects that say themselves how they are written: dates, URLs, buffers. */
function isPlainBesideItself(value: object, depth: number): boolean {
  const written = (value as { toJSON(key: string): unknown }).toJSON('')
  return written !== value && isPlain(written, depth + 1)
}

/** Finds what JSON can't hold. `written`: the value is what a toJSON returned, which is asked only once. */
function explain(value: unknown, path: string, above: Set<unknown>, written = false): void {
  switch (typeof value) {
    case 'bigint':
      throw refused(path, 'is a BigInt; store it as a string')
    case 'function':
    case 'symbol':
      throw refused(path, `is a ${typeof value}`)
    case 'number':
      if (!Number.isFinite(value)) throw refused(path, `is ${value}; store null or a string instead`)
      return
    case 'object':
      break
    default:
      return
  }
  if (value === null) return
  if (above.has(value)) throw refused(path, 'refers back to an object that contains it')
  if (above.size >= MAX_DEPTH) throw refused(path.slice(0, 200), `is nested deeper than ${MAX_DEPTH} levels`)
  const kind = read(path, () => kindOf(value))
  const remedy = REMEDIES[kind]
  if (remedy) throw refused(path, `is ${kind === 'Error' ? 'an' : 'a'} ${kind}; ${remedy}`)
  above.add(value)
  const own =
    kind === 'toJSON' && !written ? read(path, () => (value as { toJSON(key: string): unknown }).toJSON('')) : value
  if (own === value) explainMembers(value, kind === 'Array', path, above)
  else explain(own, path, above, true)
  above.delete(value)
}

/** Kinds of objects of which JSON would keep nothing, and what to store instead. */
const REMEDIES: Record<string, string> = {
  Map: 'store Object.fromEntries(map)',
  Set: 'store an array',
  WeakMap: 'store what it refers to',
  WeakSet: 'store what it refers to',
  Promise: 'await it',
  Error: 'store its message and stack',
  RegExp: 'store its source',
}

const LOSSY = { Map, Set, WeakMap, WeakSet, Promise, Error, RegExp }

function lossyKind(value: object): string | undefined {
  for (const [name, type] of Object.entries(LOSSY)) if (value instanceof type) return name
  return undefined
}

function kindOf(value: object): string {
  if (Array.isArray(value)) return 'Array'
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return 'toJSON'
  return lossyKind(value) ?? 'Object'
}

/** The members that JSON writes: not those that are inherited. */
function explainMembers(value: object, isArray: boolean, path: string, above: Set<unknown>): void {
  for (const key of read(path, () => Object.keys(value))) {
    const within = isArray ? `${path}[${key}]` : member(path, key)
    const item = read(within, () => (value as Record<string, unknown>)[key])
    if (key !== 'toJSON' || typeof item !== 'function') explain(item, within, above)
  }
}

function member(path: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}

function refused(path: string, what: string, cause?: unknown): NuxtQueueError {
  const options = cause === undefined ? undefined : { cause }
  return new NuxtQueueError('NQ_INVALID_EVENT', `${path} ${what}: JSON can't hold it.`, options)
}
