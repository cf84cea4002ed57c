/** What a step of a conformance scenario can do, in terms of the package's public API. */

import { setTimeout as sleep } from 'node:timers/promises'
import {
  type EventRecord,
  type EventStore,
  type RunState,
  reduceRun,
  reduceState,
  type Subscription,
} from '../../index.js'
import type { VirtualClock } from '../../testing.js'
import { mismatch } from './scenario-values.js'

// Steps are data: their arguments get their types from the scenario files, not from TypeScript.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Arguments = any

/** What an operation works on. */
export interface Stage {
  /** The store that the step speaks to. */
  store: EventStore
  /** The stream that is meant when a step names none. */
  stream: string
  /** The run that is meant when a step names none. */
  run: string
  clock?: VirtualClock
  subscriptions: Map<string, Following>
  /** The step's `as` and `until`. */
  name?: string
  until?: unknown
}

/** A subscription and what it has brought so far. */
export interface Following {
  events: EventRecord[]
  /** The events that a handler failed on and that were reported. */
  reported: EventRecord[]
  /** What had arrived when the subscription said that it had caught up. */
  caughtUp: Promise<EventRecord[]>
  subscription: Subscription
}

/** Longest wait for something that has to come, in milliseconds. */
const PATIENCE = 15_000

type Operation = (args: Arguments, stage: Stage) => unknown

const stateOf = ({ store, run }: Stage, args: Arguments): RunState => store.state(args.run ?? run, args.envelope)
const withStream = (args: Arguments, { stream }: Stage) => ({ stream, ...args })

/** The operations by the member that names them in a step. */
export const operations: Record<string, Operation> = {
  append: ({ stream, event, options }, stage) => stage.store.append(stream ?? stage.stream, event, options),
  appendBatch: ({ stream, events, options }, stage) => stage.store.appendBatch(stream ?? stage.stream, events, options),
  query: (args, stage) => stage.store.query(withStream(args, stage)),
  queryText: async (args, stage) => JSON.parse(await stage.store.queryText(withStream(args, stage))),
  queryGlobal: (args, stage) => stage.store.queryGlobal(withFilter(args)),
  iterate: ({ take, ...args }, stage) =>
    collect(stage.store.iterate('pattern' in args ? withFilter(args) : withStream(args, stage)), take),
  streams: ({ pattern }, stage) => collect(stage.store.streams(pattern)),
  deleteStream: ({ stream }, stage) => stage.store.deleteStream(stream ?? stage.stream),
  deleteStreams: ({ pattern }, stage) => stage.store.deleteStreams(pattern),
  indexAdd: ({ key, id, score }, stage) => stage.store.indexAdd(key, id, score),
  indexRead: ({ key, ...options }, stage) => stage.store.indexRead(key, options),
  indexDelete: ({ key }, stage) => stage.store.indexDelete(key),

  subscribe,
  received: (name, { subscriptions, until }) => received(following(subscriptions, name), until),
  caughtUp: (name, { subscriptions }) => inTime(following(subscriptions, name).caughtUp, `"${name}" to catch up`),
  reported: (name, { subscriptions }) => reported(following(subscriptions, name)),
  unsubscribe: (name, { subscriptions }) => following(subscriptions, name).subscription.unsubscribe(),

  'state.get': (args, stage) => stateOf(stage, args).get(args.key, args.options),
  'state.getAll': (args, stage) => stateOf(stage, args).getAll(),
  'state.has': (args, stage) => stateOf(stage, args).has(args.key),
  'state.set': ({ key, value, ttl, ...args }, stage) =>
    stateOf(stage, args).set(key, value, ttl === undefined ? undefined : { ttl }),
  'state.delete': (args, stage) => stateOf(stage, args).delete(args.key),
  'state.setBatch': (args, stage) => stateOf(stage, args).setBatch(args.values),
  'state.patch': (args, stage) => stateOf(stage, args).patch(args.key, (previous) => patched(args, previous)),
  'state.list': (args, stage) => stateOf(stage, args).list(args.prefix),
  'state.at': (args, stage) => stateOf(stage, args).at(args.point),
  'state.history': (args, stage) => stateOf(stage, args).history(args.key),
  'state.diff': (args, stage) => stateOf(stage, args).diff(args.from, args.to),
  'state.snapshot': (args, stage) => stateOf(stage, args).snapshot(),

  reduceState: ({ events, at }) => reduceState(events, at === undefined ? undefined : { at }),
  reduceRun: ({ events }) => reduceRun(events),

  clock: (to, { clock }) => moveClock(to, clock),
  pause: (ms, { clock }) => (clock ? clock.advance(ms) : sleep(ms)),
}

async function collect<T>(items: AsyncIterable<T>, take = Number.POSITIVE_INFINITY): Promise<T[]> {
  const taken: T[] = []
  for await (const item of items) {
    taken.push(item)
    if (taken.length >= take) break
  }
  return taken
}

function withFilter({ filter, ...query }: Arguments) {
  if (filter === undefined) return query
  return { ...query, filter: (event: EventRecord) => mismatch(filter, event, 'like') === undefined }
}

function patched({ add, push, to }: Arguments, previous: Arguments): unknown {
  if (add !== undefined) return (previous ?? 0) + add
  return push === undefined ? to : [...(previous ?? []), push]
}

function moveClock(to: string, clock?: VirtualClock): void {
  if (!clock) throw new Error('This scenario moves the clock: it has to require "virtualClock"')
  if (to.startsWith('+')) clock.advance(Number(to.slice(1)))
  else clock.set(to)
}

async function subscribe({ to, after, throwOn }: Arguments, stage: Stage): Promise<void> {
  const events: EventRecord[] = []
  const reported: EventRecord[] = []
  let catchUp = (_events: EventRecord[]) => {}
  const caughtUp = new Promise<EventRecord[]>((resolve) => {
    catchUp = resolve
  })
  const handler = (event: EventRecord) => {
    events.push(event)
    if (throwOn !== undefined && mismatch(throwOn, event, 'like') === undefined) throw new Error('The handler failed')
  }
  const subscription = await stage.store.subscribe(to ?? stage.stream, handler, {
    ...(after === undefined ? {} : { after }),
    onCaughtUp: () => catchUp([...events]),
    onError: (_error: unknown, event: EventRecord) => reported.push(event),
  })
  if (!stage.name) throw new Error('A subscription needs a name: "as"')
  stage.subscriptions.set(stage.name, { events, reported, caughtUp, subscription })
}

function following(subscriptions: Stage['subscriptions'], name: string): Following {
  const found = subscriptions.get(name)
  if (!found) throw new Error(`There is no subscription "${name}"`)
  return found
}

/** All events so far, once one that is like `until` is among them (at once if there is no `until`). */
async function received({ events }: Following, until: unknown): Promise<EventRecord[]> {
  if (until !== undefined) {
    await eventually(
      () => events.some((event) => mismatch(until, event, 'like') === undefined),
      () => `an event like ${JSON.stringify(until)} (so far ${events.length})`,
    )
  }
  return [...events]
}

async function reported(following: Following): Promise<EventRecord[]> {
  await eventually(
    () => following.reported.length > 0,
    () => 'a report of the failed handler',
  )
  return [...following.reported]
}

async function eventually(holds: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + PATIENCE
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Waited ${PATIENCE} ms in vain for ${what()}`)
    await sleep(2)
  }
}

async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  const giveUp = new AbortController()
  const late = sleep(PATIENCE, undefined, { signal: giveUp.signal }).then(
    () => Promise.reject(new Error(`Waited ${PATIENCE} ms in vain for ${what}`)),
    () => new Promise<never>(() => {}),
  )
  return Promise.race([promise, late]).finally(() => giveUp.abort())
}
