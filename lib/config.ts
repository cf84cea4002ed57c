/**
 * Checks what a core is opened with.
 */

import { randomBytes, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { QueueConfig, StoreOptions, TriggerConfig } from '../index.js'
import { toDuration } from './duration.js'
import { NuxtQueueError } from './errors.js'
import { LEVELS } from './log/level.js'
import { isAdapter, isLevels, type Routing, readRouting } from './log/router.js'
import { expectRedis } from './migration/old-keys.js'
import type { Provider } from './migration/state-home.js'
import { type Check, expect, flag, object, config as refuse, secret, text } from './options.js'
import type { InstanceOptions } from './registry/calls.js'
import { AWAIT_PATH } from './trigger/await-webhook.js'

const DEFAULT_SUSPEND_AFTER = 30_000
const DEFAULT_HEARTBEAT_INTERVAL = 10_000

const any: Check = () => {}
const oneOf = (...values: unknown[]): Check => {
  return (value, name) => expect(values.includes(value), value, name, `one of ${values.join(', ')}`)
}
const url: Check = (value, name) => {
  const isUrl = typeof value === 'string' && URL.canParse(value) && !/[?#]/.test(value)
  expect(isUrl, value, name, 'a URL such as "https://app.example.com", without query')
}
/** What stands in the place of code that gives secrets may be one. */
const functionOf: Check = (value, name) => {
  if (typeof value !== 'function') throw refuse(`${name} is not a function.`)
}
const duration: Check = (value, name) => {
  try {
    toDuration(value as string, name)
  } catch (error) {
    throw refuse((error as Error).message)
  }
}
const level = oneOf(...LEVELS)
/** What is given may hold anything, and is not shown. */
const adapter: Check = (value, name) => {
  if (isAdapter(value)) return
  throw refuse(
    `${name} is no logger; expected 'console', a function, or an object with the methods ${LEVELS.join(', ')}.`,
  )
}
const rate: Check = (value, name) => {
  expect(typeof value === 'number' && value >= 0 && value <= 1, value, name, 'a number from 0 to 1')
}
const levels: Check = (value, name) => expect(isLevels(value), value, name, `an array of ${LEVELS.join(', ')}`)

const MEMBERS = {
  eventStore: any,
  flows: object({ suspendAfter: duration }),
  triggers: object({ enabled: flag, baseUrl: url, secret, resolveSecret: functionOf }),
  jobs: object({ prefix: text, stallTimeout: duration }),
  state: object({ provider: oneOf('eventStore', 'redis', 'dual') }),
  logging: object({
    routing: oneOf('internal', 'external', 'both', 'console'),
    level,
    external: object({ level, adapter, format: oneOf('pretty', 'json') }),
    sampling: object({ rate, alwaysLog: levels }),
  }),
  registry: object({
    instanceId: text,
    version: text,
    strategy: oneOf('strict', 'latest', 'mixed'),
    heartbeatInterval: duration,
    heartbeatTimeout: duration,
  }),
  telemetry: flag,
  clock: any,
}
const CONFIG = object(MEMBERS)

/** The names of what a config may have. */
export const configNames = Object.keys(MEMBERS)

/** What a core works with. */
export interface CoreOptions {
  store: StoreOptions
  clock: QueueConfig['clock']
  prefix: string
  instance: InstanceOptions
  isShared: boolean
  outlivesJobs: boolean
  jobs: { prefix?: string; stallTimeout?: number }
  logging: Routing
  stateProvider: Provider
  /** Whether OpenTelemetry is told. */
  telemetry: boolean
  suspendAfter: number
  /** The URL that ends with a token. */
  awaitUrl: string
  /** What tokens are signed with. Throws `NQ_CONFIG` if there is nothing that all instances know. */
  secret: () => string | Uint8Array
  /** Finds the secrets of webhooks. */
  resolveSecret: TriggerConfig['resolveSecret']
}

/** Reads a config, or throws `NQ_CONFIG`. */
export function readConfig(config: QueueConfig): CoreOptions {
  CONFIG(config, 'The config')
  const { eventStore = {}, flows, triggers, jobs, logging, registry, state, telemetry = true } = config
  const clock = config.clock ?? eventStore.clock
  if (eventStore.clock !== undefined && eventStore.clock !== clock) {
    throw refuse('clock and eventStore.clock are two clocks; a core and its store need the same one.')
  }
  if (eventStore.file?.readOnly) {
    throw refuse('eventStore.file.readOnly is for EventStore.open; a core records what it does, and has to write.')
  }
  const { provider: stateProvider = 'eventStore' } = state ?? {}
  if (stateProvider !== 'eventStore') expectRedis(eventStore)
  const isShared = (eventStore.adapter ?? 'memory') !== 'memory'
  return {
    store: { ...eventStore, clock },
    clock,
    prefix: eventStore.prefix ?? 'nq',
    instance: readRegistry(registry, isShared),
    isShared,
    outlivesJobs: eventStore.adapter === 'file',
    jobs: readJobs(jobs),
    logging: readRouting(logging),
    stateProvider,
    telemetry,
    suspendAfter: toDuration(flows?.suspendAfter ?? DEFAULT_SUSPEND_AFTER, 'flows.suspendAfter'),
    awaitUrl: (triggers?.baseUrl ?? '').replace(/\/+$/, '') + AWAIT_PATH,
    resolveSecret: triggers?.resolveSecret,
    secret: secretOf(triggers?.secret || process.env.NUXT_QUEUE_SECRET, isShared),
  }
}

function readRegistry(
  { instanceId, version, strategy, heartbeatInterval, heartbeatTimeout }: NonNullable<QueueConfig['registry']> = {},
  isShared: boolean,
): InstanceOptions {
  const given = (value: number | string | undefined, name: string) =>
    value === undefined ? undefined : toDuration(value, `registry.${name}`)
  const timeout = given(heartbeatTimeout, 'heartbeatTimeout')
  const usual = Math.min(DEFAULT_HEARTBEAT_INTERVAL, Math.ceil((timeout ?? Number.POSITIVE_INFINITY) / 3))
  const interval = given(heartbeatInterval, 'heartbeatInterval') ?? usual
  // Events that nobody else can see end with the process: there, silence says nothing.
  const beats = isShared || heartbeatInterval !== undefined || heartbeatTimeout !== undefined
  if (timeout === 0) throw refuse('registry.heartbeatTimeout is 0; expected more than registry.heartbeatInterval.')
  return {
    instanceId: instanceId ?? `${hostname()}-${randomUUID().slice(0, 8)}`,
    version,
    strategy,
    heartbeatInterval: interval,
    heartbeatTimeout: beats ? (timeout ?? 3 * interval) : 0,
  }
}

function readJobs({ prefix, stallTimeout }: NonNullable<QueueConfig['jobs']> = {}): CoreOptions['jobs'] {
  return {
    ...(prefix !== undefined && { prefix }),
    ...(stallTimeout !== undefined && { stallTimeout: toDuration(stallTimeout, 'jobs.stallTimeout') }),
  }
}

function secretOf(given: string | undefined, isShared: boolean): () => string | Uint8Array {
  if (given) return () => given
  if (!isShared) {
    // Nobody else can answer: the events of the runs are gone with this process, too.
    const own = randomBytes(32)
    return () => own
  }
  return () => {
    throw new NuxtQueueError(
      'NQ_CONFIG',
      'URLs of awaits need a secret that all instances share: set triggers.secret, or the environment variable NUXT_QUEUE_SECRET, to a long random text.',
    )
  }
}
