/**
 * The log of a run: lines in its stream, in the order of the calls with the changes of state around them. Nobody waits
 * for a line, and logging never fails the code that logs.
 */

import { isNativeError } from 'node:util/types'
import type * as surface from '../../index.js'
import type { EventStore } from '../event-store.js'
import type { AnyEvent } from '../pack.js'
import type { TraceFields } from '../telemetry/step-span.js'
import { isAtLeast, type Level, toLevel } from './level.js'
import { cut, toSafe } from './metadata.js'

type Metadata = Record<string, unknown>
type Given = Metadata | Error

export interface LoggerOptions {
  /** The least urgent level that is recorded in the run, or `'none'`. Default: `debug`. */
  level?: Level | 'none'
  /** Where else lines go, from which level on. `write` does not throw. */
  external?: { level: Level; write: (entry: surface.LogEntry) => void }
  /** Which levels are logged at all. */
  isSampled?: (level: Level) => boolean
  /** Whether nothing is logged at the moment. */
  isMuted?: () => boolean
  /** For the timestamps of lines that go elsewhere. */
  now?: () => number
  /** The trace that a line belongs to, for those that go elsewhere. */
  trace?: (() => TraceFields | undefined) | undefined
}

/** In UTF-16 units. */
const LONGEST_MESSAGE = 1 << 15

/** What a logger and its children share. */
interface Shared {
  store: Pick<EventStore, 'append'>
  stream: string
  envelope: surface.EventEnvelope
  options: LoggerOptions
  pending: Set<Promise<void>>
  /** The first since the last flush. */
  failure?: { error: unknown }
}

/** Logs of a run; documented in `index.d.ts`. */
export class RunLogger implements Pick<surface.RunLogger, keyof surface.RunLogger> {
  #shared: Shared
  #context: Metadata = {}

  constructor(
    store: Pick<EventStore, 'append'>,
    stream: string,
    envelope: surface.EventEnvelope,
    options: LoggerOptions = {},
  ) {
    this.#shared = { store, stream, envelope: { ...envelope }, options, pending: new Set() }
  }

  debug(message: string, metadata?: Given): void {
    this.log('debug', message, metadata)
  }

  info(message: string, metadata?: Given): void {
    this.log('info', message, metadata)
  }

  warn(message: string, metadata?: Given): void {
    this.log('warn', message, metadata)
  }

  error(message: string, metadata?: Given): void {
    this.log('error', message, metadata)
  }

  log(level: Level, message: string, metadata?: Given): void {
    const known = toLevel(level)
    const { level: least = 'debug', external, isSampled, isMuted } = this.#shared.options
    const isInternal = least !== 'none' && isAtLeast(known, least)
    const isExternal = external !== undefined && isAtLeast(known, external.level)
    if (!isInternal && !isExternal) return
    if (isSampled?.(known) === false || isMuted?.()) return
    const line = this.#line(known, message, metadata)
    if (isInternal) this.#append(line)
    if (isExternal) this.#tell(line, external.write)
  }

  child(context: Metadata): RunLogger {
    const { store, stream, envelope } = this.#shared
    const child = new RunLogger(store, stream, envelope)
    child.#shared = this.#shared
    child.#context = { ...this.#context, ...toMetadata(context) }
    return child
  }

  async flush(): Promise<void> {
    const shared = this.#shared
    await Promise.all(shared.pending)
    const { failure } = shared
    if (failure === undefined) return
    shared.failure = undefined
    throw failure.error
  }

  #append(line: surface.LogData): void {
    const shared = this.#shared
    const event = { type: `log.${line.level}`, data: line, ...shared.envelope } as AnyEvent
    // Called at once: the order of the calls is the order in the stream.
    const append = async () => {
      try {
        await shared.store.append(shared.stream, event)
      } catch (error) {
        shared.failure ??= { error }
      }
    }
    const appended: Promise<void> = append().finally(() => shared.pending.delete(appended))
    shared.pending.add(appended)
  }

  #tell(line: surface.LogData, write: (entry: surface.LogEntry) => void): void {
    const { envelope, options } = this.#shared
    const { now = Date.now, trace } = options
    // What differs first: adding it behind the others is twenty times as slow.
    const { level, ...others } = line
    write({ level: level as Level, timestamp: new Date(now()).toISOString(), ...others, ...envelope, ...trace?.() })
  }

  #line(level: Level, message: unknown, metadata: unknown): surface.LogData {
    const isError = isNativeError(message) && metadata === undefined
    // Copies: whoever gets the line may do with it what it likes.
    const merged = { ...toMetadata(this.#context), ...toMetadata(isError ? message : metadata) }
    return { level, message: messageText(message), ...(Object.keys(merged).length > 0 && { metadata: merged }) }
  }
}

function messageText(message: unknown): string {
  if (typeof message === 'string') return cut(message, LONGEST_MESSAGE)
  const safe = toSafe(message)
  const text = isNativeError(message) ? ((safe as Metadata).message ?? safe) : safe
  return cut(typeof text === 'string' ? text : (JSON.stringify(text) ?? ''), LONGEST_MESSAGE)
}

/** What a caller gave as metadata, as an object of JSON. */
function toMetadata(given: unknown): Metadata {
  if (given === undefined || given === null) return {}
  if (isNativeError(given)) return { error: toSafe(given) }
  const safe = toSafe(given)
  return typeof safe === 'object' && safe !== null && !Array.isArray(safe) ? (safe as Metadata) : { value: safe }
}
