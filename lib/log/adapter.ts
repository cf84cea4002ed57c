/**
 * Loggers outside, as something that takes a line.
 */

import type { ExternalLogger, LogEntry, PinoLike } from '../../index.js'
import { consoleWriter, type Format } from './console.js'
import { LEVELS } from './level.js'

/** Takes a line; may be asynchronous, and may fail. */
export type LogWriter = (entry: LogEntry) => unknown

/** Whatever may be given as an adapter. */
export type Adapter = 'console' | ((entry: LogEntry) => unknown) | PinoLike | ExternalLogger

/** Whether something is an adapter. */
export function isAdapter(value: unknown): value is Adapter {
  return value === 'console' || typeof value === 'function' || hasMethods(value, LEVELS)
}

/** What takes lines for an adapter. `format` is for the console. */
export function writerOf(adapter: Adapter, format?: Format): LogWriter {
  if (adapter === 'console') return consoleWriter(console, process.stdout, format)
  // Consola's instances are objects; so is pino's. What can be called without being a logger is called.
  if (typeof adapter === 'function' && !hasMethods(adapter, LEVELS)) return adapter as LogWriter
  const logger = adapter as ExternalLogger & PinoLike
  // Pino takes what belongs to a line first, everybody else the text.
  if (hasMethods(adapter, ['bindings', 'isLevelEnabled'])) {
    return ({ level, message, timestamp: _own, ...fields }) => void logger[level](fields, message)
  }
  return ({ level, message, timestamp: _own, ...fields }) => logger[level](message, fields)
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}
