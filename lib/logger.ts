/**
 * The log of a run: lines in its stream, in the order of the calls with the changes of state around them. Nobody waits
 * for a line, and logging never fails the code that logs.
 */

import { isNativeError } from 'node:util/types'
import type * as surface from '../index.js'
import type { EventStore } from './event-store.js'
import { cut, toSafe } from './metadata.js'
import type { AnyEvent } from './pack.js'

type Level = surface.LogEntry['level']
type Metadata = Record<string, unknown>
type Given = Metadata | Error

export interface LoggerOptions {
  /** The least urgent level that is logged. Default: `debug`. */
  level?: Level
  /** Is told of every line that is logged. May throw. */
  onEntry?: (entry: surface.LogEntry) => void
  /** For the timestamps that `onEntry` gets. */
  now?: () => number
}

const URGENCY: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 }

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
    // A level that only somebody else knows is no reason to lose the line.
    const known = Object.hasOwn(URGENCY, level) ? level : 'info'
    const { options } = this.#shared
    if (URGENCY[known] < URGENCY[options.level ?? 'debug']) return
    const text = messageText(message)
    const own = isNativeError(message) && metadata === undefined ? message : metadata
    const merged = { ...this.#context, ...toMetadata(own) }
    const line = { level: known, message: text, ...(Object.keys(merged).length > 0 && { metadata: merged }) }
    this.#append(line)
    this.#tell(line)
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
    const event = { ...shared.envelope, type: `log.${line.level}`, data: line } as AnyEvent
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

  #tell(line: Omit<surface.LogEntry, 'timestamp'>): void {
    const { envelope, options } = this.#shared
    const { onEntry, now = Date.now } = options
    if (onEntry === undefined) return
    try {
      const told: unknown = onEntry({ ...envelope, ...line, timestamp: new Date(now()).toISOString() })
      if (told instanceof Promise) told.catch(() => {})
    } catch {
      // Where else the lines go to must not matter to the step that logs.
    }
  }
}

function messageText(message: unknown): string {
  const text = typeof message === 'string' ? message : isNativeError(message) ? message.message : toSafe(message)
  return cut(typeof text === 'string' ? text : (JSON.stringify(text) ?? ''), LONGEST_MESSAGE)
}

/** What a caller gave as metadata, as an object of JSON. */
function toMetadata(given: unknown): Metadata {
  if (given === undefined || given === null) return {}
  if (isNativeError(given)) return { error: toSafe(given) }
  const safe = toSafe(given)
  return typeof safe === 'object' && safe !== null && !Array.isArray(safe) ? (safe as Metadata) : { value: safe }
}
