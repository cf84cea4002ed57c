/**
 * The config key `queue` of an app: what belongs to the core, and what to the module.
 */

import type { QueueConfig } from '../../index.js'
import { readConfig } from '../config.js'
import { type Check, expect, object, config as refuse } from '../options.js'

/** What the module was told. */
export interface ModuleOptions {
  /** As `open` takes it. */
  core: QueueConfig
  /** By name. */
  queues: Record<string, { concurrency?: number }>
  /** Whether there are routes to look at runs and to fire triggers. */
  routes: boolean
  /** What the paths of webhooks begin with. */
  webhooks: string
  /** Whether steps run in this server. */
  workers: boolean
}

const flag: Check = (value, name) => expect(typeof value === 'boolean', value, name, 'true or false')
const concurrency: Check = (value, name) => {
  expect(Number.isSafeInteger(value) && (value as number) > 0, value, name, 'a whole number from 1 on')
}
const path: Check = (value, name) => {
  expect(/^\/(?!\/)[^?#*]*[^/?#*]$/.test(String(value)), value, name, 'a path such as "/webhooks"')
}
const queue = object({ concurrency })
const queues: Check = (value, name) => {
  expect(
    typeof value === 'object' && value !== null && !Array.isArray(value),
    value,
    name,
    'an object of queues by name',
  )
  for (const [key, given] of Object.entries(value as object)) queue(given, `${name}.${key}`)
}
const mode: Check = (value, name) => {
  expect(value === 'event-based', value, name, '"event-based"; it is always that')
}

const OWN = { queues, routes: flag, webhooks: path, workers: flag }
/** Names that may be left empty, so that the environment can set them: `NUXT_QUEUE_EVENT_STORE_REDIS_URL`. */
const FROM_ENVIRONMENT = {
  workers: '',
  eventStore: { adapter: '', prefix: '', redis: { url: '' } },
  triggers: { baseUrl: '', secret: '' },
  registry: { instanceId: '', version: '' },
  jobs: { prefix: '' },
  logging: { routing: '', level: '' },
}

/** Reads the config key, or throws `NQ_CONFIG`, naming the key. */
export function readOptions(given: unknown): ModuleOptions {
  expect(typeof given === 'object' && given !== null && !Array.isArray(given), given, 'queue', 'an object')
  const {
    queues = {},
    routes = true,
    webhooks = '/webhooks',
    workers = true,
    ...others
  } = given as Partial<ModuleOptions>
  named(() => object(OWN)({ queues, routes, webhooks, workers }, 'queue'))
  const core = withoutMode(others as QueueConfig)
  expectData(core, 'queue')
  named(() => readConfig(core))
  return { core, queues, routes, webhooks, workers }
}

/** What the server is told when it runs: the environment may change it. */
export function toRuntimeConfig({ core, workers }: ModuleOptions): Record<string, unknown> {
  return merge(FROM_ENVIRONMENT, { ...core, workers })
}

/** The same behind the environment: without what is empty. */
export function fromRuntimeConfig(given: Record<string, unknown>): { core: QueueConfig; workers: boolean } {
  const { workers = true, ...core } = withoutEmpty(given)
  expect(typeof workers === 'boolean', workers, 'queue.workers', 'true or false')
  named(() => readConfig(core as QueueConfig))
  return { core: core as QueueConfig, workers: workers as boolean }
}

/** Puts the name of the config key before those of its members. */
function named(check: () => unknown): void {
  try {
    check()
  } catch (error) {
    const message = (error as Error).message
    throw refuse(message.startsWith('queue') ? message : `queue: ${message}`)
  }
}

/** The plan of the original has it; there is one mode. */
function withoutMode(core: QueueConfig): QueueConfig {
  const { mode: given, ...registry } = (core.registry ?? {}) as NonNullable<QueueConfig['registry']> & {
    mode?: unknown
  }
  if (given === undefined) return core
  mode(given, 'queue.registry.mode')
  return { ...core, registry }
}

/** The server is another process: only data reaches it. */
function expectData(value: unknown, name: string): void {
  if (typeof value === 'function') {
    throw refuse(
      `${name} is a function, which a server that is built can't be given; set it in the hook "queue:config" of a Nitro plugin.`,
    )
  }
  if (typeof value !== 'object' || value === null) return
  for (const [member, given] of Object.entries(value)) expectData(given, `${name}.${member}`)
}

function merge(defaults: object, given: object): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...defaults }
  for (const [name, value] of Object.entries(given)) {
    const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value)
    merged[name] = isBranch ? merge((merged[name] as object | undefined) ?? {}, value) : value
  }
  return merged
}

function withoutEmpty(given: object): Record<string, unknown> {
  const kept = Object.entries(given).map(([name, value]) => {
    const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value)
    return [name, isBranch ? withoutEmpty(value) : value] as const
  })
  const isEmpty = (value: unknown) =>
    value === '' ||
    value === undefined ||
    (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
  return Object.fromEntries(kept.filter(([, value]) => !isEmpty(value)))
}
