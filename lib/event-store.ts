import type * as surface from '../index.js'
import { Bridge } from './bridge.js'
import { isError, NuxtQueueError, rethrowing, toError, unwrap } from './errors.js'
import { packOptions } from './options.js'
import { type AnyEvent, checkEnvelope, packAppend, packBatch } from './pack.js'
import { checkLimit, checkName, checkOptions, invalid, isGlobal, packGlobalQuery, packQuery } from './query.js'
import { RunState } from './run-state.js'
import { subscribe } from './subscription.js'
import { timestampOf } from './time.js'
import { nativeClock } from './virtual-clock.js'

// biome-ignore lint/suspicious/noExplicitAny: the overloads of index.d.ts say which records these are
type Records = any[]

/** What flows are built upon. Not a member of the store, so that it stays out of reach for everybody else. */
export let bridgeOf: (store: EventStore) => Bridge

/** What a store is, for those that are built upon it. */
export interface StorePlace {
  /** First part of the names of its streams. */
  prefix: string
  /** Its options, with the password. */
  options: surface.StoreOptions
  /** The instant by its clock, in milliseconds. */
  now: () => number
}

export let placeOf: (store: EventStore) => StorePlace

/** Opens a store and does not wait for its backend: calls do, as they do while a connection is lost. */
export let openLazily: (options: surface.StoreOptions) => EventStore

/** Appends an event with the instant that its writer notes, ISO 8601; only entries on Redis have a place for that. */
export let appendWithTs: (store: EventStore, stream: string, event: AnyEvent, ts: string) => Promise<Records[number]>

/** The event store; documented in `index.d.ts`. */
export class EventStore implements Pick<surface.EventStore, keyof surface.EventStore> {
  readonly #bridge: Bridge
  readonly #place: StorePlace
  /** The last patch of each run that is under way: one after the other, they don't conflict with each other. */
  readonly #patches = new Map<string, Promise<unknown>>()
  #closed: Promise<void> | undefined

  static {
    bridgeOf = (store) => store.#bridge
    placeOf = (store) => store.#place
    openLazily = (options) => new EventStore(options)
    appendWithTs = (store, stream, event, ts) => store.#append(stream, event, undefined, ts)
  }

  private constructor(options: surface.StoreOptions) {
    const packed = packOptions(options)
    const clock = nativeClock(options.clock)
    this.#bridge = new Bridge(packed, (options.adapter ?? 'memory') === 'memory', clock)
    this.#place = { prefix: options.prefix ?? 'nq', options, now: clock ? () => clock.now() : Date.now }
  }

  static async open(options: surface.StoreOptions = {}): Promise<EventStore> {
    const store = new EventStore(options)
    const bridge = store.#bridge
    const outcome = await bridge.call((ticket) => bridge.store.connect(ticket))
    if (isError(outcome)) {
      await bridge.call((ticket) => bridge.store.close(ticket))
      throw toError(outcome)
    }
    return store
  }

  append(stream: string, event: AnyEvent, options?: surface.AppendOptions): Promise<Records[number]> {
    return this.#append(stream, event, options)
  }

  async #append(
    stream: string,
    event: AnyEvent,
    options: surface.AppendOptions | undefined,
    ts?: string,
  ): Promise<Records[number]> {
    const packed = packAppend(stream, event, options, ts)
    const draft = toDraft(stream, event)
    const handedOver = this.#bridge.append(packed)
    const outcome = typeof handedOver === 'string' ? handedOver : await handedOver
    return isId(outcome) ? finish(draft, outcome) : repeated(outcome)[0]
  }

  async appendBatch(stream: string, events: readonly AnyEvent[], options?: surface.AppendOptions): Promise<Records> {
    const packed = packBatch(stream, events, options)
    const drafts = events.map((event) => toDraft(stream, event))
    const outcome = await this.#bridge.append(packed)
    if (!isId(outcome)) return repeated(outcome)
    return outcome.split(',').map((id, index) => finish(drafts[index] as Records[number], id))
  }

  async query(query: surface.Query): Promise<Records> {
    return parseRecords(await this.queryText(query))
  }

  async queryText(query: surface.Query): Promise<string> {
    const packed = packQuery(query)
    return unwrap(await this.#bridge.call((ticket) => this.#bridge.store.query(ticket, packed)))
  }

  async queryGlobal(query: surface.GlobalQuery): Promise<Records> {
    const records: Records = []
    for await (const record of this.#iterateGlobal(query)) records.push(record)
    return records
  }

  // biome-ignore lint/suspicious/noExplicitAny: the overloads of index.d.ts say which records these are
  iterate(query: surface.Query | surface.GlobalQuery): AsyncGenerator<any> {
    return isGlobal(query) ? this.#iterateGlobal(query) : this.#pages(() => packQuery(query))
  }

  async *#iterateGlobal(query: surface.GlobalQuery): AsyncGenerator<surface.EventRecord> {
    const packed = packGlobalQuery(query)
    const { filter, limit } = query
    let remaining = limit ?? Number.POSITIVE_INFINITY
    for await (const record of this.#pages(() => packed)) {
      if (filter && !filter(record)) continue
      yield record
      if (--remaining === 0) return
    }
  }

  async *#pages(pack: () => string): AsyncGenerator<surface.EventRecord> {
    const packed = pack()
    this.#bridge.flush()
    const pages = rethrowing(() => this.#bridge.store.pages(packed))
    for (;;) {
      this.#checkOpen()
      const page = parseRecords(unwrap(await this.#bridge.call((ticket) => pages.next(ticket))))
      if (page === null) return
      yield* page
    }
  }

  async subscribe(
    streamOrPattern: string,
    handler: (event: surface.EventRecord) => void | Promise<void>,
    options?: surface.SubscribeOptions,
  ): Promise<surface.Subscription> {
    return await subscribe(this.#bridge, streamOrPattern, handler, options)
  }

  async *streams(pattern: string): AsyncGenerator<surface.StreamInfo> {
    checkName(pattern, 'pattern')
    this.#bridge.flush()
    const streams = rethrowing(() => this.#bridge.store.streams(pattern))
    for (;;) {
      this.#checkOpen()
      const page = JSON.parse(unwrap(await this.#bridge.call((ticket) => streams.next(ticket)))) as
        | surface.StreamInfo[]
        | null
      if (page === null) return
      yield* page
    }
  }

  async deleteStream(stream: string): Promise<boolean> {
    checkName(stream, 'stream')
    return JSON.parse(unwrap(await this.#bridge.call((ticket) => this.#bridge.store.deleteStream(ticket, stream))))
  }

  async deleteStreams(pattern: string): Promise<number> {
    checkName(pattern, 'pattern')
    return JSON.parse(unwrap(await this.#bridge.call((ticket) => this.#bridge.store.deleteStreams(ticket, pattern))))
  }

  async indexAdd(key: string, id: string, score: number): Promise<void> {
    checkName(key, 'key')
    checkName(id, 'id')
    if (!Number.isFinite(score)) throw invalid('score', score, 'a finite number')
    unwrap(await this.#bridge.call((ticket) => this.#bridge.store.indexAdd(ticket, key, id, score)))
  }

  async indexRead(key: string, options: { offset?: number; limit?: number } = {}): Promise<surface.IndexEntry[]> {
    checkName(key, 'key')
    const { offset = 0 } = checkOptions(options, ['offset', 'limit'])
    const limit = checkLimit(options.limit)
    if (!Number.isSafeInteger(offset) || offset < 0) throw invalid('offset', offset, 'a whole number from 0 on')
    const outcome = await this.#bridge.call((ticket) => this.#bridge.store.indexRead(ticket, key, offset, limit))
    const members = JSON.parse(unwrap(outcome)) as Array<[string, number]>
    return members.map(([id, score]) => ({ id, score }))
  }

  async indexDelete(key: string): Promise<void> {
    checkName(key, 'key')
    unwrap(await this.#bridge.call((ticket) => this.#bridge.store.indexDelete(ticket, key)))
  }

  // biome-ignore lint/suspicious/noExplicitAny: index.d.ts types the state
  state(runId: string, envelope: surface.EventEnvelope = {}): any {
    checkEnvelope(runId, envelope)
    return RunState.of(
      { store: this, bridge: this.#bridge, now: this.#place.now, patches: this.#patches },
      runId,
      envelope,
    )
  }

  stats(): surface.StoreStats {
    return JSON.parse(this.#bridge.store.stats())
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  /** For reads that began before the store was closed; new calls are refused by the native side. */
  #checkOpen(): void {
    if (this.#closed) throw new NuxtQueueError('NQ_CLOSED', 'The event store is closed; open a new one to go on.')
  }

  async #close(): Promise<void> {
    unwrap(await this.#bridge.call((ticket) => this.#bridge.store.close(ticket)))
  }
}

function isId(outcome: string): boolean {
  const first = outcome.charCodeAt(0)
  return first >= 48 && first <= 57
}

function repeated(outcome: string): Records {
  return parseRecords(unwrap(outcome)) ?? []
}

/**
 * The record of an event but for its id and timestamp; made at the call, as the caller may change the event meanwhile.
 * The members that the store assigns come first: adding them behind the others is ten times as slow.
 */
function toDraft(stream: string, event: AnyEvent): Records[number] {
  const assigned = { id: '', stream, timestamp: '' }
  if ('id' in event || 'stream' in event || 'timestamp' in event) return { ...event, ...assigned }
  return { id: '', stream, timestamp: '', ...event }
}

function finish(draft: Records[number], id: string): Records[number] {
  draft.id = id
  draft.timestamp = timestampOf(id)
  return draft
}

function parseRecords(text: string): Records {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new NuxtQueueError('NQ_CORRUPT', 'The stream holds an event that is not JSON.', { cause })
  }
}
