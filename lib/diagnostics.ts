/**
 * Hands diagnostics to a callback.
 */

import type * as surface from '../index.js'
import type { NativeDiagnostics } from '../native.cjs'
import { native } from './native.js'
import { checkOptions, invalid } from './query.js'

type Callback = (diagnostic: surface.Diagnostic) => void

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace']

/** Those of this thread; they stay although nobody may hold on to what ends them. */
const listeners = new Set<Listener>()

/** Calls `callback` with diagnostics; documented in `index.d.ts`. */
export function onDiagnostic(callback: Callback, options: surface.DiagnosticOptions = {}): () => void {
  if (typeof callback !== 'function') throw invalid('callback', callback, 'a function')
  const { level } = checkOptions(options, ['level'])
  if (level !== undefined && !LEVELS.includes(level)) throw invalid('level', level, `one of ${LEVELS.join(', ')}`)
  const listener = new Listener(callback, level)
  if (listeners.size === 0) process.on('exit', takeLast)
  listeners.add(listener)
  return () => listener.end()
}

/** What came while the last turn ran. */
function takeLast(): void {
  for (const listener of listeners) listener.take()
}

class Listener {
  readonly #native: NativeDiagnostics
  readonly #callback: Callback
  #reported = false

  constructor(callback: Callback, level: surface.DiagnosticLevel | undefined) {
    this.#callback = callback
    this.#native = new native.NativeDiagnostics(level, () => this.take())
  }

  end(): void {
    this.#native.end()
    if (listeners.delete(this) && listeners.size === 0) process.off('exit', takeLast)
  }

  take(): void {
    for (const diagnostic of JSON.parse(this.#native.take()) as surface.Diagnostic[]) {
      // It may have been ended by the one before.
      if (!listeners.has(this)) return
      try {
        // Nobody waits for a promise: should it fail, that must not end the process.
        const handled: unknown = this.#callback(diagnostic)
        if (handled !== undefined) Promise.resolve(handled).catch((error) => this.#report(error))
      } catch (error) {
        this.#report(error)
      }
    }
  }

  /** Once: it may fail each time, and failing may be what it is told of. */
  #report(error: unknown): void {
    if (this.#reported) return
    this.#reported = true
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const what = 'A callback of onDiagnostic failed; it is still called, further failures are not reported'
    process.emitWarning(`${what}: ${detail}`, { type: 'NuxtQueueWarning', code: 'NQ_DIAGNOSTIC' })
  }
}
