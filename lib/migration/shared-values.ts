/**
 * State that belongs to no run, folded from the stream `nq:state`. It lives as long as the system: when many events have
 * come, a snapshot takes the place of all before it.
 */

import { unwrap } from '../errors.js'
import { bridgeOf, type EventStore, placeOf } from '../event-store.js'
import type { AnyEvent } from '../pack.js'
import { reduceState } from '../reduce.js'
import { warn } from '../warn.js'
import { type EventValues, isConflict } from './event-state.js'

/** After so many events there is a snapshot. */
const SNAPSHOT_AFTER = 1000

/** What marks an event that a snapshot brings with it, as in the streams of runs. */
const CAUSE = 'state.snapshot'

interface StateRecord {
  id: string
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: others may have written anything
  data?: any
}

export class SharedValues implements EventValues {
  readonly #store: EventStore
  readonly #stream: string
  /** What came since the last snapshot, with it. */
  #events: StateRecord[] = []
  /** The last read; each begins after the one before. */
  #reading: Promise<unknown> = Promise.resolve()
  #snapshotAfter = SNAPSHOT_AFTER

  constructor(store: EventStore, stream: string) {
    this.#store = store
    this.#stream = stream
  }

  async get(name: string): Promise<unknown> {
    const values = await this.#values()
    return Object.hasOwn(values, name) ? values[name] : undefined
  }

  async list(prefix: string): Promise<string[]> {
    return Object.keys(await this.#values())
      .filter((name) => name.startsWith(prefix))
      .sort()
  }

  async knows(name: string): Promise<boolean> {
    await this.#read()
    return this.#events.some(({ type, data }) =>
      type === CAUSE ? Object.hasOwn(data ?? {}, name) : data?.key === name,
    )
  }

  async #values(): Promise<Record<string, unknown>> {
    await this.#read()
    return reduceState(this.#events, { at: this.#now() })
  }

  /** No event is later, whatever the clocks say. */
  #now(): number {
    return Math.max(placeOf(this.#store).now(), Number(this.#events.at(-1)?.id.split('-')[0] ?? 0))
  }

  async #read(): Promise<void> {
    const read = this.#reading.then(() => this.#load())
    this.#reading = read.catch(() => {})
    await read
  }

  async #load(): Promise<void> {
    const last = this.#events.at(-1)?.id
    const events = await this.#query(last === undefined ? {} : { after: idBefore(last) })
    if (events[0]?.id === last) this.#events.push(...events.slice(1))
    // Somebody deleted the stream, or compacted it.
    else this.#events = last === undefined ? events : await this.#query({})
    const snapshot = this.#events.findLastIndex(({ type }) => type === CAUSE)
    if (snapshot > 0) this.#events.splice(0, snapshot)
    if (this.#events.length >= this.#snapshotAfter) await this.#compact()
  }

  async #query(range: { after?: string }): Promise<StateRecord[]> {
    return (await this.#store.query({ stream: this.#stream, ...range })) as StateRecord[]
  }

  async #compact(): Promise<void> {
    try {
      await this.#snapshot()
      this.#snapshotAfter = SNAPSHOT_AFTER
    } catch (error) {
      this.#snapshotAfter = this.#events.length * 2
      if (!isConflict(error)) warn('State that belongs to no run could not be compacted', error, 'NQ_STATE')
    }
  }

  /** Appends what there is, and then deletes what came before: a process that ends in between leaves what says the same. */
  async #snapshot(): Promise<void> {
    const last = this.#events.at(-1)?.id
    if (last === undefined) return
    const now = this.#now()
    const data = reduceState(this.#events, { at: now })
    const batch = [{ type: CAUSE, data }, ...this.#expiring(data)] as AnyEvent[]
    const options = { expectedLastId: last }
    const [snapshot] = (await this.#store.appendBatch(this.#stream, batch, options)) as [StateRecord]
    const bridge = bridgeOf(this.#store)
    const { id } = snapshot
    unwrap(await bridge.call((ticket) => bridge.store.forgetBefore(ticket, this.#stream, id)))
  }

  /** A snapshot can't say when names expire: those that do are set again behind it. */
  #expiring(values: Record<string, unknown>): AnyEvent[] {
    const last = new Map<string, StateRecord>()
    for (const event of this.#events) if (typeof event.data?.key === 'string') last.set(event.data.key, event)
    const expiring = [...last.values()].filter(
      ({ type, data }) => type === 'state.set' && data.expiresAt !== undefined && Object.hasOwn(values, data.key),
    )
    return expiring.map(({ data }) => ({ type: 'state.set', causationId: CAUSE, data }))
  }
}

/** The greatest id before another. */
function idBefore(id: string): string {
  const [ms = '0', seq = '0'] = id.split('-')
  return BigInt(seq) > 0n ? `${ms}-${BigInt(seq) - 1n}` : `${BigInt(ms) - 1n}-${2n ** 64n - 1n}`
}
