/**
 * How the state in the original's keys and that in events go together, name by name.
 */

import type { EventState } from './event-state.js'
import type { StatePlace } from './old-key.js'
import type { OldKeys, OldValue } from './old-keys.js'
import { fromOldText, toOldText } from './old-text.js'

/**
 * - `equal`: both say the same.
 * - `unmarked`: so they do, and it is not noted which event the key goes with.
 * - `missing`: events say nothing of a key.
 * - `stale`: a key was written since by somebody who knows nothing of events.
 * - `newer`: events say something else, and it is the later word: also that it was deleted.
 * - `events`: there is no key.
 * - `none`: neither says anything.
 */
export type Relation = 'equal' | 'unmarked' | 'missing' | 'stale' | 'newer' | 'events' | 'none'

export interface Comparison {
  relation: Relation
  /** What the key holds. */
  old?: OldValue
  /** What the events say; `undefined`: nothing, or that it was deleted. */
  value?: unknown
}

/** Compares one name. */
export async function compare(events: EventState, keys: OldKeys, place: StatePlace, name: string): Promise<Comparison> {
  // First the key: an event that is appended in between is the later word.
  const old = await keys.read(place, name)
  const value = await events.get(name, { consistency: 'strong' })
  if (old === undefined) return { relation: value === undefined ? 'none' : 'events', value }
  if (value !== undefined && isSame(old.text, value)) {
    return { relation: old.mirrored === 'same' ? 'equal' : 'unmarked', old, value }
  }
  if (old.mirrored === 'other') return { relation: 'stale', old, value }
  if (old.mirrored === 'same' || value !== undefined) return { relation: 'newer', old, value }
  return { relation: (await events.knows(name)) ? 'newer' : 'missing', old, value }
}

/** Whether a key holds a value: as we write it, or as others may. */
function isSame(text: string, value: unknown): boolean {
  return text === toOldText(value) || JSON.stringify(fromOldText(text)) === JSON.stringify(value)
}
