/**
 * Which state there is in the original's keys.
 */

import type { EventStore } from '../event-store.js'
import { placeOfRun, type StatePlace, sharedPlace } from './old-key.js'
import { escapeGlob, type OldKeys } from './old-keys.js'

/** A place with the names of its keys. */
export interface OldPlace {
  place: StatePlace
  names: string[]
}

/** All places with keys, in the order of their streams. Only names are held in memory. */
export async function findOldPlaces(keys: OldKeys, prefix: string): Promise<OldPlace[]> {
  const found = new Map<string, { place: StatePlace; names: Set<string> }>()
  for await (const page of keys.scan(`${escapeGlob(prefix)}:*`)) {
    for (const key of page) {
      const { place, name } = readOldKey(prefix, key)
      const known = found.get(place.stream) ?? { place, names: new Set() }
      found.set(place.stream, known)
      known.names.add(name)
    }
  }
  const sorted = [...found.values()].sort((a, b) => (a.place.stream < b.place.stream ? -1 : 1))
  return sorted.map(({ place, names }) => ({ place, names: [...names].sort() }))
}

/** Those, and all streams that may hold state. */
export async function findPlaces(store: EventStore, prefix: string, old: readonly OldPlace[]): Promise<OldPlace[]> {
  const found = new Map(old.map((each) => [each.place.stream, each]))
  const runs = `${prefix}:flow:`
  for await (const { stream } of store.streams(`${escapeGlob(runs)}*`)) {
    const place = placeOfRun(prefix, stream.slice(runs.length))
    if (!found.has(stream)) found.set(stream, { place, names: [] })
  }
  const shared = sharedPlace(prefix)
  if (!found.has(shared.stream)) found.set(shared.stream, { place: shared, names: [] })
  return [...found.values()]
}

/** A key as it stands on Redis: what is no run's belongs to none. */
function readOldKey(prefix: string, key: string): { place: StatePlace; name: string } {
  const bare = key.slice(prefix.length + 1)
  const [, runId, name] = /^flow:([^:]+):(.+)$/s.exec(bare) ?? []
  if (runId !== undefined && name !== undefined) return { place: placeOfRun(prefix, runId), name }
  return { place: sharedPlace(prefix), name: bare }
}
