/**
 * The config key `queue` of an app: what belongs to the core, and what to the module.
 */

import type { QueueConfig } from '../../index.js'
import { configNames, readConfig } from '../config.js'
import { type Check, expect, flag, object, packOptions, config as refuse } from '../options.js'
import { within } from './within.js'

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
/** Texts that the environment can set without being named in the config: `NUXT_QUEUE_EVENT_STORE_REDIS_URL`. */
export const TEXTS = {
  eventStore: { adapter: '', prefix: '', file: { dir: '' }, redis: { url: '' } },
  triggers: { baseUrl: '', secret: '' },
  registry: { instanceId: '', version: '' },
  jobs: { prefix: '' },
  logging: { routing: '', level: '' },
}

/** Reads the config key, or throws `NQ_CONFIG`, naming the key. */
export function readOptions(given: unknown = {}, inline: object = {}): ModuleOptions {
  expect(typeof given === 'object' && given !== null && !Array.isArray(given), given, 'queue', 'an object')
  const all: object = { ...(given as object), ...inline }
  expectKnown(all)
  const {
    queues = {},
    routes = true,
    webhooks = '/webhooks',
    workers = true,
    ...others
  } = all as Partial<ModuleOptions>
  object(OWN)({ queues, routes, webhooks, workers }, 'queue')
  const core = withoutMode(others as QueueConfig)
  expectData(core, 'queue')
  within('queue', () => readConfig(core))
  within('queue.eventStore', () => checkStore(core.eventStore))
  return { core, queues, routes, webhooks, workers }
}

function expectKnown(given: object): void {
  const known = [...configNames.filter((name) => name !== 'clock'), ...Object.keys(OWN)]
  const unknown = Object.keys(given).find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw refuse(`There is no option "queue.${unknown}"; known are ${known.join(', ')}.`)
}

/** The directory may be known to the environment only. */
function checkStore(given: QueueConfig['eventStore'] = {}): void {
  const isFile = given.adapter === 'file'
  packOptions({ ...given, ...(isFile && { file: { dir: '.', ...given.file } }) })
}

/** What the server is told when it runs: the environment may change it. */
export function toRuntimeConfig({ core, workers }: ModuleOptions): Record<string, unknown> {
  return merge(structuredClone(TEXTS), { ...core, workers })
}

/** The same behind the environment: without what is empty. */
export function fromRuntimeConfig(given: Record<string, unknown>): { core: QueueConfig; workers: boolean } {
  const { workers = true, ...core } = withoutEmpty(asTexts(given, TEXTS))
  flag(workers, 'queue.workers')
  within('queue', () => readConfig(core as QueueConfig))
  within('queue.eventStore', () => packOptions((core as QueueConfig).eventStore ?? {}))
  return { core: core as QueueConfig, workers: workers as boolean }
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

/** What is a text in the environment reaches us as a number if it looks like one. */
function asTexts(given: object, texts: object): Record<string, unknown> {
  const read: Record<string, unknown> = { ...given }
  for (const [name, text] of Object.entries(texts)) {
    const value = read[name]
    if (typeof value === 'number') read[name] = String(value)
    else if (typeof value === 'object' && value !== null) read[name] = asTexts(value, text)
  }
  return read
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
