/**
 * The names of state in the original's storage: `flow:{runId}:{name}` for that of a run, a bare name otherwise.
 */

import { NuxtQueueError, shown } from '../errors.js'

/** Where a kind of state is kept. */
export interface StatePlace {
  /** The run, if it is one's. */
  runId?: string
  /** The stream of its events. */
  stream: string
  /** What its keys on Redis begin with. */
  oldPrefix: string
}

/** The state of a run. */
export function placeOfRun(prefix: string, runId: string): StatePlace {
  return { runId, stream: `${prefix}:flow:${runId}`, oldPrefix: `${prefix}:flow:${runId}:` }
}

/** State that belongs to no run. */
export function sharedPlace(prefix: string): StatePlace {
  return { stream: `${prefix}:state`, oldPrefix: `${prefix}:` }
}

/** What a key of the original's state provider means. Its namespace may stand before it. */
export function readKey(prefix: string, key: unknown): { place: StatePlace; name: string } {
  const bare = withoutNamespace(prefix, normalise(key))
  const [, runId, name] = /^flow:([^:]+):(.+)$/s.exec(bare) ?? []
  if (runId !== undefined && name !== undefined) return { place: placeOfRun(prefix, runId), name }
  if (bare === '') throw new NuxtQueueError('NQ_VALIDATION', `The key ${shown(key)} of state is empty.`)
  return { place: sharedPlace(prefix), name: bare }
}

/** The key of state by its name. */
export function writeKey({ runId }: StatePlace, name: string): string {
  return runId === undefined ? name : `flow:${runId}:${name}`
}

export function withoutNamespace(prefix: string, key: string): string {
  return key.startsWith(`${prefix}:`) ? key.slice(prefix.length + 1) : key
}

/** A name as the original's driver made it: it took `a/b` for `a:b`, and cut what follows a `?`. */
export function normalise(key: unknown): string {
  if (typeof key !== 'string' || !key.isWellFormed()) {
    throw new NuxtQueueError('NQ_VALIDATION', `The key of state is ${shown(key)}; expected a string.`)
  }
  const [path = ''] = key.split('?')
  return path.replace(/[/\\]/g, ':').replace(/:+/g, ':').replace(/^:|:$/g, '')
}
