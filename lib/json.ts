/**
 * What JSON can't hold is refused with the path to it, instead of being lost or changed without a word.
 */

import { NuxtQueueError } from './errors.js'

const MAX_DEPTH = 500

/** `JSON.stringify` for payloads; `undefined` gives `undefined`. */
export function toJson(value: unknown, path: string): string | undefined {
  if (!isPlain(value, 0)) explain(value, path, new Set())
  try {
    return JSON.stringify(value)
  } catch (cause) {
    if (cause instanceof NuxtQueueError) throw cause
    throw refused(path, cause instanceof Error ? cause.message : String(cause), cause)
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
  if (depth >= MAX_DEPTH) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) if (!isPlain(value[index], depth + 1)) return false
    return true
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return isPlainBesideItself(value, depth)
  if (value instanceof Map || value instanceof Set) return false
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
  return true
}

/** Objects that say themselves how they are written: dates, URLs, buffers. */
function isPlainBesideItself(value: object, depth: number): boolean {
  const written = (value as { toJSON(key: string): unknown }).toJSON('')
  return written !== value && isPlain(written, depth + 1)
}

function explain(value: unknown, path: string, above: Set<unknown>): void {
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
  if (value instanceof Map) throw refused(path, 'is a Map; store Object.fromEntries(map)')
  if (value instanceof Set) throw refused(path, 'is a Set; store an array')
  above.add(value)
  if (Array.isArray(value)) {
    value.forEach((item, index) => {
      explain(item, `${path}[${index}]`, above)
    })
  } else if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    explain((value as { toJSON(key: string): unknown }).toJSON(''), path, above)
  } else {
    for (const key in value) explain((value as Record<string, unknown>)[key], member(path, key), above)
  }
  above.delete(value)
}

function member(path: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}

function refused(path: string, what: string, cause?: unknown): NuxtQueueError {
  const options = cause === undefined ? undefined : { cause }
  return new NuxtQueueError('NQ_INVALID_EVENT', `${path} ${what}: JSON can't hold it.`, options)
}
