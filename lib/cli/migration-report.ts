/**
 * What a migration did, and what differs, for people.
 */

import type { Relation } from '../migration/comparison.js'
import { type StatePlace, writeKey } from '../migration/old-key.js'
import type { Action, PlaceReport } from '../migration/state-migration.js'
import { count, plural } from './terminal.js'

/** So many are named. */
const MOST_NAMED = 20

const MEANING: Partial<Record<Relation, string>> = {
  missing: 'only in its key',
  stale: 'written into its key since, by an instance that knows nothing of events',
  newer: 'newer in events',
  events: 'only in events',
}

export class MigrationReport {
  readonly #isBack: boolean
  readonly #relations = new Map<Relation, number>()
  readonly #differences: string[] = []
  readonly #failures: string[] = []
  #places = 0
  #copied = 0
  /** How many differ in the direction that matters. */
  #open = 0

  constructor(isBack: boolean) {
    this.#isBack = isBack
  }

  add(place: StatePlace, { relations, copied, differences, failures }: PlaceReport): void {
    if (Object.keys(relations).length > 0) this.#places++
    this.#copied += copied
    for (const [relation, n] of Object.entries(relations) as Array<[Relation, number]>) {
      this.#relations.set(relation, (this.#relations.get(relation) ?? 0) + n)
    }
    for (const { name, relation } of differences) {
      if (!this.#matters(relation)) continue
      this.#open++
      if (this.#differences.length < MOST_NAMED) {
        this.#differences.push(`  ${writeKey(place, name)}: ${MEANING[relation]}`)
      }
    }
    for (const { name, error } of failures) {
      this.#failures.push(`  ${writeKey(place, name)}: ${error.code}: ${error.message}`)
    }
  }

  /** How many keys were deleted, where that was asked. */
  get deleted(): number {
    return this.#copied
  }

  /** Forwards events have to hold everything, backwards keys. */
  #matters(relation: Relation): boolean {
    return (this.#isBack ? ['newer', 'events'] : ['missing', 'stale']).includes(relation)
  }

  isFine(action: Action): boolean {
    return this.#failures.length === 0 && (action !== 'compare' || this.#open === 0)
  }

  lines(action: Action, isDry: boolean): string[] {
    const summary = action === 'compare' ? this.#compared() : this.#copiedLine(isDry)
    const { length } = this.#failures
    const failed = length > 0 ? [`${plural(length, 'key')} could not be copied:`, ...this.#failures] : []
    return [...summary, ...failed]
  }

  #copiedLine(isDry: boolean): string[] {
    const what = this.#isBack ? 'from events into keys' : 'from keys into events'
    const same = this.#number('equal') + this.#number('unmarked')
    const line = `${isDry ? 'Would copy' : 'Copied'} ${plural(this.#copied, 'value')} of ${plural(this.#places, 'stream')} ${what}`
    const newer = this.#isBack ? this.#number('stale') + this.#number('missing') : this.#number('newer')
    const kept = newer > 0 ? `, ${count(newer)} were newer already` : ''
    return [`${line}; ${count(same)} said the same already${kept}.`]
  }

  #compared(): string[] {
    const same = this.#number('equal') + this.#number('unmarked')
    const head = `${plural(same, 'value')} of ${plural(this.#places, 'stream')} say the same in keys and events.`
    const others = (['newer', 'events', 'missing', 'stale'] as const)
      .filter((relation) => this.#number(relation) > 0)
      .map((relation) => `${count(this.#number(relation))} ${MEANING[relation]}.`)
    const more = this.#open - this.#differences.length
    return [head, ...others, ...this.#differences, ...(more > 0 ? [`  and ${count(more)} more`] : [])]
  }

  #number(relation: Relation): number {
    return this.#relations.get(relation) ?? 0
  }
}
