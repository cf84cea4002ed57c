/**
 * Brings state from the original's keys into events, and back. Both may be ended at any moment and begun again, and
 * others may write meanwhile, provided that they write both (`state.provider: 'dual'`) or at least what is read here.
 */

import { NuxtQueueError } from '../errors.js'
import type { EventStore } from '../event-store.js'
import { type Comparison, compare, type Relation } from './comparison.js'
import { type EventState, isConflict } from './event-state.js'
import type { StatePlace } from './old-key.js'
import type { OldKeys, OldValue } from './old-keys.js'
import { fromOldText, toOldText } from './old-text.js'
import { StateHome } from './state-home.js'

/** What is appended at once, at most. */
const BATCH = 100
const BATCH_LENGTH = 1 << 20

/** What marks the events of a migration. */
const CAUSE = 'migration'

/** What there is of a place, and what became of it. */
export interface PlaceReport {
  /** How many names there are of each relation, before anything was done. */
  relations: Partial<Record<Relation, number>>
  /** How many were copied, or would be. */
  copied: number
  /** Names that differ, where only that is asked. */
  differences: Array<{ name: string; relation: Relation }>
  /** What could not be copied. */
  failures: Array<{ name: string; error: NuxtQueueError }>
}

/** What is to be done: `compare` only looks. */
export type Action = 'copy' | 'copy-back' | 'compare'

/** What has to be copied into events, and what into keys. */
const NEEDED: Record<Action, readonly Relation[]> = {
  copy: ['missing', 'stale'],
  'copy-back': ['newer', 'events'],
  compare: [],
}

export class StateMigration {
  readonly keys: OldKeys
  readonly #home: StateHome

  constructor(store: EventStore) {
    this.#home = new StateHome(store, 'dual')
    this.keys = this.#home.keys as OldKeys
  }

  async close(): Promise<void> {
    await this.#home.close()
  }

  /** Compares these names of a place and does what the action says; `isDry`: as if. */
  async run(place: StatePlace, names: readonly string[], action: Action, isDry: boolean): Promise<PlaceReport> {
    const events = this.#home.eventsOf(place, { causationId: CAUSE })
    const known = await events.list('')
    const report: PlaceReport = { relations: {}, copied: 0, differences: [], failures: [] }
    const all = action === 'copy' ? names : [...new Set([...names, ...known])].sort()
    for (let at = 0; at < all.length; at += BATCH) {
      await this.#names(place, events, all.slice(at, at + BATCH), action, isDry, report)
    }
    return report
  }

  async #names(
    place: StatePlace,
    events: EventState,
    names: readonly string[],
    action: Action,
    isDry: boolean,
    report: PlaceReport,
  ): Promise<void> {
    for (let isFirst = true; ; isFirst = false) {
      // Before anything is read: what is appended from now on makes the append fail.
      const last = await events.lastId()
      const found = await Promise.all(
        names.map(async (name) => ({ name, ...(await compare(events, this.keys, place, name)) })),
      )
      if (isFirst) note(report, found)
      const wanted = found.filter(({ relation }) => NEEDED[action].includes(relation))
      if (isDry || action === 'compare') {
        report.copied += wanted.length
        return
      }
      try {
        if (action === 'copy') await this.#copy(place, events, wanted, last, report)
        else await this.#copyBack(place, events, wanted, last, report)
        await this.#mark(place, found, last)
        return
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
  }

  async #copy(
    place: StatePlace,
    events: EventState,
    wanted: readonly Named[],
    after: string,
    report: PlaceReport,
  ): Promise<void> {
    let last = after
    const waiting = inParts(wanted)
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      try {
        last = await this.#append(place, events, part, last)
        report.copied += part.length
      } catch (error) {
        if (!isRefused(error)) throw error
        // The others can be copied without it.
        if (part.length > 1) waiting.unshift(...part.map((each) => [each]))
        else report.failures.push({ name: (part[0] as Named).name, error })
      }
    }
  }

  async #append(place: StatePlace, events: EventState, part: readonly Named[], after: string): Promise<string> {
    const changes = part.map(({ name, old }) => ({ name, value: fromOldText(textOf(old)), ttl: old?.ttl }))
    const ids = await events.putAll(changes, after)
    // A process that ends before this finds that they say the same.
    const mark = ({ name, old }: Named, at: number) => this.keys.mark(place, name, ids[at] as string, textOf(old))
    await Promise.all(part.map(mark))
    return ids.at(-1) as string
  }

  async #copyBack(
    place: StatePlace,
    events: EventState,
    wanted: readonly Named[],
    last: string,
    report: PlaceReport,
  ): Promise<void> {
    if (wanted.length === 0) return
    const ttls = await events.ttls()
    const copy = ({ name, value }: Named) => {
      if (value === undefined) return this.keys.mirrorDelete(place, name, last)
      return this.keys.mirror(place, name, last, toOldText(value), ttls.get(name))
    }
    await Promise.all(wanted.map(copy))
    report.copied += wanted.length
  }

  /** What says the same already. */
  async #mark(place: StatePlace, found: readonly Named[], last: string): Promise<void> {
    const unmarked = found.filter(({ relation }) => relation === 'unmarked')
    await Promise.all(unmarked.map(({ name, old }) => this.keys.mark(place, name, last, textOf(old))))
  }
}

type Named = Comparison & { name: string }

const textOf = (old: OldValue | undefined) => old?.text ?? ''

/** In parts that can be appended at once. */
function inParts(wanted: readonly Named[]): Named[][] {
  const parts: Named[][] = []
  let room = 0
  for (const each of wanted) {
    const { length } = textOf(each.old)
    if (room < length || parts.length === 0) {
      parts.push([])
      room = BATCH_LENGTH
    }
    parts.at(-1)?.push(each)
    room -= length
  }
  return parts
}

/** Whether events can't hold it, which the next attempt won't change. */
function isRefused(error: unknown): error is NuxtQueueError {
  return error instanceof NuxtQueueError && ['NQ_INVALID_EVENT', 'NQ_VALIDATION', 'NQ_TOO_LARGE'].includes(error.code)
}

function note(report: PlaceReport, found: readonly Named[]): void {
  for (const { name, relation } of found) {
    report.relations[relation] = (report.relations[relation] ?? 0) + 1
    if (relation !== 'equal' && relation !== 'unmarked' && relation !== 'none') {
      report.differences.push({ name, relation })
    }
  }
}
