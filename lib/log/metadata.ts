/**
 * Anything at all as something that JSON can hold. For logs: a line that lacks a part is worth more than an error about
 * it. Payloads and state are refused instead, see `json.ts`.
 */

import { isNativeError } from 'node:util/types'

/** Levels of objects and arrays, and of causes of errors. */
const DEEPEST = 8

/** What a value may take altogether, in UTF-16 units of its texts and names. Escaped, twice (with that of a parent) and beside a message, it still fits
 * into an event. */
const LARGEST = 1 << 16

/** A text with `…` for what was cut off, in well-formed Unicode. */
export function cut(text: string, length: number): string {
  return (text.length > length ? `${text.slice(0, length - 1)}…` : text).toWellFormed()
}

/** A copy of a value, with texts in brackets for what JSON can't hold. Never throws. */
export function toSafe(value: unknown): unknown {
  try {
    return new Copy().of(value, [])
  } catch (error) {
    return `[unreadable: ${reasonOf(error)}]`
  }
}

/** A copy under way. */
class Copy {
  #room = LARGEST

  of(value: unknown, above: readonly object[]): unknown {
    if (this.#room <= 0) return '[cut off]'
    this.#room -= 8
    switch (typeof value) {
      case 'string':
        return this.#text(value)
      case 'number':
        return Number.isFinite(value) ? value : String(value)
      case 'bigint':
        return this.#text(String(value))
      case 'symbol':
        return this.#text(`[${String(value)}]`)
      case 'function':
        return this.#text(`[function ${value.name || 'without a name'}]`)
      case 'object':
        return value === null ? null : this.#objectIfReadable(value, above)
      default:
        return value
    }
  }

  #text(text: string): string {
    const fitting = cut(text, Math.max(this.#room, 1))
    this.#room -= fitting.length
    return fitting
  }

  /** Getters, `toJSON` and proxies are the caller's code, which may fail. */
  #objectIfReadable(value: object, above: readonly object[]): unknown {
    try {
      if (above.includes(value)) return '[circular]'
      if (above.length >= DEEPEST) return Array.isArray(value) ? '[array]' : '[object]'
      return this.#object(value, [...above, value])
    } catch (error) {
      return this.#text(`[unreadable: ${reasonOf(error)}]`)
    }
  }

  #object(value: object, above: readonly object[]): unknown {
    if (Array.isArray(value)) return this.#array(value, above)
    if (isNativeError(value)) return this.#error(value, above)
    if (value instanceof Map) return this.#entries(value.entries(), above)
    if (value instanceof Set) return this.#array(value, above)
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[invalid date]' : value.toISOString()
    if (value instanceof RegExp) return this.#text(String(value))
    if (value instanceof Promise) return '[promise]'
    if (ArrayBuffer.isView(value)) return `[${value.constructor.name} of ${value.byteLength} bytes]`
    const { toJSON } = value as { toJSON?: unknown }
    if (typeof toJSON === 'function') return this.of(toJSON.call(value, ''), above)
    return this.#entries(Object.entries(value), above)
  }

  #array(items: Iterable<unknown>, above: readonly object[]): unknown[] {
    const copies: unknown[] = []
    for (const item of items) {
      const isFull = this.#room <= 0
      copies.push(this.of(item, above) ?? null)
      if (isFull) break
    }
    return copies
  }

  #entries(entries: Iterable<[unknown, unknown]>, above: readonly object[]): Record<string, unknown> {
    const copies: Array<[string, unknown]> = []
    for (const [key, value] of entries) {
      const isFull = this.#room <= 0
      const name = this.#text(typeof key === 'string' ? key : String(this.of(key, above)))
      copies.push([name, this.of(value, above)])
      if (isFull) break
    }
    // Not by assignment, for which __proto__ would be something else.
    return Object.fromEntries(copies)
  }

  /** With name, message, stack and cause, none of which JSON would keep, and with what else was put on it. */
  #error(error: Error, above: readonly object[]): Record<string, unknown> {
    const { name, message, stack, cause } = error
    return {
      ...this.#entries(Object.entries(error), above),
      name: this.of(name, above),
      message: this.of(message, above),
      ...(stack !== undefined && { stack: this.of(stack, above) }),
      ...(cause !== undefined && { cause: this.of(cause, above) }),
    }
  }
}

function reasonOf(error: unknown): string {
  try {
    return cut(String(isNativeError(error) ? error.message : error), 200)
  } catch {
    return 'it gives no reason'
  }
}
