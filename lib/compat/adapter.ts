/**
 * The original's event store adapter.
 */

import type * as surface from '../../compat.js'
import { unwrap } from '../errors.js'
import { appendWithTs, bridgeOf, type EventStore } from '../event-store.js'
import { isStrictJson } from '../json.js'
import { type OldKeys, oldKeysOf } from '../migration/old-keys.js'
import type { AnyEvent } from '../pack.js'
import { checkOptions, invalid, packQuery } from '../query.js'
import { subscribeWithTs } from '../subscription.js'
import { warn } from '../warn.js'
import { type NotedRecord, toEvent, toRecord, withJsonData } from './record.js'
import { type Source, sourceOf } from './source.js'

/** How many members of an index are read if nobody says. */
const INDEX_LIMIT = 50

/** Makes the adapter of a store; documented in `compat.d.ts`. */
export function createEventStoreAdapter(given?: surface.StoreSource): surface.EventStoreAdapter {
  return new Adapter(sourceOf(given))
}

/** An adapter; documented in `compat.d.ts`. */
export class Adapter implements surface.EventStoreAdapter {
  readonly #source: Source
  readonly #store: EventStore
  /** State that the original keeps beside its streams, where it is still in use. */
  readonly #oldKeys: OldKeys | undefined

  constructor(source: Source) {
    this.#source = source
    this.#store = source.store
    const { provider = 'eventStore' } = source.config?.state ?? {}
    if (provider !== 'eventStore') this.#oldKeys = oldKeysOf(source.place.options)
  }

  async append(subject: string, event: surface.IngressEvent): Promise<surface.AppendedRecord> {
    const ts = new Date(this.#source.place.now()).toISOString()
    const record = await this.#append(subject, toEvent(event), ts)
    // In memory an event has no other time than that of its id.
    const noted = this.#source.place.options.adapter === 'redis' ? ts : record.timestamp
    return { ...toRecord({ ...record, ts: noted }), subject }
  }

  /** Handed over at once: appends have the order of the calls, whatever becomes of each. */
  #append(subject: string, event: AnyEvent, ts: string): Promise<NotedRecord> {
    return appendWithTs(this.#store, subject, isStrictJson(event.data) ? event : withJsonData(event), ts)
  }

  async read(subject: string, options: surface.EventReadOptions = {}): Promise<surface.EventRecord[]> {
    const { fromId, limit, direction = 'forward' } = checkOptions(options, ['fromId', 'limit', 'direction'])
    if (direction !== 'forward' && direction !== 'backward') {
      throw invalid('direction', direction, "'forward' or 'backward'")
    }
    const isBackward = direction === 'backward'
    const bound = fromId == null ? {} : isBackward ? { before: fromId } : { after: fromId }
    const query = { stream: subject, order: isBackward ? 'desc' : 'asc', ...bound, limit: limit ?? undefined } as const
    const packed = packQuery(query, true)
    const bridge = bridgeOf(this.#store)
    const records = JSON.parse(unwrap(await bridge.call((ticket) => bridge.store.query(ticket, packed))))
    return (records as NotedRecord[]).map(toRecord)
  }

  async subscribe(
    subject: string,
    onEvent: (event: surface.EventRecord) => unknown,
  ): Promise<surface.EventSubscription> {
    if (typeof onEvent !== 'function') throw invalid('The callback', onEvent, 'a function')
    const deliver = (record: NotedRecord) => tell(onEvent, toRecord(record))
    const subscription = await subscribeWithTs(bridgeOf(this.#store), subject, deliver as never)
    return { unsubscribe: () => void subscription.unsubscribe() }
  }

  async indexAdd(key: string, id: string, score: number): Promise<void> {
    await this.#store.indexAdd(key, id, score)
  }

  async indexRead(key: string, options: surface.IndexReadOptions = {}): Promise<surface.IndexEntry[]> {
    const { offset = 0, limit = INDEX_LIMIT } = checkOptions(options, ['offset', 'limit'])
    return await this.#store.indexRead(key, { offset, limit })
  }

  async deleteStream(subject: string): Promise<void> {
    await this.#store.deleteStream(subject)
  }

  async deleteByPattern(pattern: string): Promise<number> {
    const streams = await this.#store.deleteStreams(pattern)
    return streams + ((await this.#oldKeys?.deleteMatching(pattern)) ?? 0)
  }

  async deleteIndex(key: string): Promise<void> {
    await this.#store.indexDelete(key)
  }

  async close(): Promise<void> {
    await this.#oldKeys?.close()
    if (this.#source.isOwn) await this.#store.close()
  }
}

/** Nobody waits for a callback, and one that fails must not end the process. */
function tell(onEvent: (event: surface.EventRecord) => unknown, event: surface.EventRecord): void {
  const answer = onEvent(event)
  if (!(answer instanceof Promise)) return
  answer.catch((error) => warn(`A subscriber failed on ${event.type} ${event.id}`, error, 'NQ_SUBSCRIPTION'))
}
