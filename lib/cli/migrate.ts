/**
 * `migrate`: state from the original's keys into events, and back.
 */

import { EventStore } from '../event-store.js'
import type { OldKeys } from '../migration/old-keys.js'
import { findOldPlaces, findPlaces, type OldPlace } from '../migration/old-places.js'
import { type Action, type PlaceReport, StateMigration } from '../migration/state-migration.js'
import { type Command, UsageError, type Values } from './command.js'
import { REDIS_OPTIONS, redisOptions } from './connection.js'
import { MigrationReport } from './migration-report.js'
import { Progress } from './progress.js'
import { plural, say, type Terminal } from './terminal.js'

/** How many runs are worked on at the same time. */
const AT_ONCE = 16

/** Old values may be larger than what is usual. */
const MAX_EVENT_BYTES = 1 << 28

export const migrate: Command = {
  name: 'migrate',
  summary: "Copies the original nuxt-queue's state into events.",
  description: `Every key {prefix}:flow:{runId}:{name} becomes an event in the stream of its run, any other
{prefix}:{name} one in {prefix}:state. Nothing is deleted. It may be stopped at any time and run
again: what was copied is not copied twice. While it runs, all instances of the application
have to run with state.provider 'dual', or not at all. docs/migration.md tells the whole way.

Exit code: 0, 1 if something could not be copied or differs, 2 for arguments that can't be understood.`,
  options: {
    ...REDIS_OPTIONS,
    'dry-run': { type: 'boolean', help: 'only say what would be copied' },
    verify: { type: 'boolean', help: 'copy nothing; compare, and say what differs' },
    back: { type: 'boolean', help: 'the other way: from events into keys' },
    'delete-old': { type: 'boolean', help: 'delete keys whose values are in events; there is no way back from there' },
  },
  run,
}

async function run(values: Values, terminal: Terminal): Promise<number> {
  if (values.verify && values['dry-run']) throw new UsageError('--verify copies nothing; leave out --dry-run.')
  if (values['delete-old'] && (values.verify || values.back)) {
    throw new UsageError('--delete-old goes with --dry-run only.')
  }
  const options = { ...redisOptions(values, terminal), limits: { maxEventBytes: MAX_EVENT_BYTES } }
  const store = await EventStore.open({ ...options, snapshotEvery: 0 })
  const migration = new StateMigration(store)
  try {
    return await migrateAll(store, migration, values, terminal)
  } finally {
    await Promise.all([migration.close(), store.close()])
  }
}

async function migrateAll(
  store: EventStore,
  migration: StateMigration,
  values: Values,
  terminal: Terminal,
): Promise<number> {
  const prefix = (values.prefix as string | undefined) ?? 'nq'
  const isBack = values.back === true
  const find = () => findOldPlaces(migration.keys, prefix)
  const places = isBack || values.verify ? await findPlaces(store, prefix, await find()) : await find()
  const isDry = values['dry-run'] === true
  const action: Action = values.verify || values['delete-old'] ? 'compare' : isBack ? 'copy-back' : 'copy'
  const report = new MigrationReport(isBack)
  const progress = new Progress(terminal, 'streams', places.length)
  const work = async (each: OldPlace) => {
    const found = await migration.run(each.place, each.names, action, isDry)
    if (values['delete-old']) await deleteOld(migration.keys, each, found, isDry)
    report.add(each.place, found)
    progress.advance()
  }
  const isComplete = await forEach(places, work, terminal.signal)
  progress.end()
  if (!isComplete) say(terminal, 'Stopped before the end; run it again to go on.')
  for (const line of report.lines(action, isDry)) say(terminal, line)
  if (values['delete-old']) say(terminal, `${isDry ? 'Would delete' : 'Deleted'} ${plural(report.deleted, 'key')}.`)
  return isComplete && report.isFine(action) ? 0 : 1
}

/** Deletes the keys of a place, unless something in them is not in events. */
async function deleteOld(
  keys: OldKeys,
  { place, names }: OldPlace,
  report: PlaceReport,
  isDry: boolean,
): Promise<void> {
  const kept = new Set(report.differences.filter(({ relation }) => relation !== 'newer').map(({ name }) => name))
  const gone = names.filter((name) => !kept.has(name)).map((name) => place.oldPrefix + name)
  report.copied = isDry ? gone.length : await keys.unlink(gone)
}

/** Does something with all of them, some at a time; whether it came to the end. */
async function forEach<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const waiting = items.values()
  const worker = async () => {
    while (!signal.aborted) {
      const next = waiting.next()
      if (next.done) return
      await work(next.value)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return waiting.next().done === true
}
