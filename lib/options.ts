/**
 * Checks what a store is opened with, and hands it on as the native side reads it.
 */

import type { StoreOptions } from '../index.js'
import { NuxtQueueError, shown as shownAsIs } from './errors.js'

/** Throws `NQ_CONFIG` for a value that can't be. */
export type Check = (value: unknown, name: string) => void

/** A text that is not empty. */
export const text: Check = (value, name) =>
  expect(typeof value === 'string' && value !== '' && value.isWellFormed(), value, name, 'a text that is not empty')
/** A text that messages don't show. */
export const secret: Check = (value, name) => {
  if (typeof value !== 'string' || !value.isWellFormed()) throw config(`${name} is not a text.`)
}
const count = (least: number, most: number): Check => {
  const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most
  return (value, name) => expect(isCount(value), value, name, `a whole number from ${least} to ${most}`)
}
/** `true` or `false`. */
export const flag: Check = (value, name) => expect(typeof value === 'boolean', value, name, 'true or false')
const endless =
  (check: Check): Check =>
  (value, name) => {
    if (value !== Number.POSITIVE_INFINITY) check(value, name)
  }
/** A thousand years; finer than a millisecond no backend counts. */
const LONGEST_LIFE = 1000 * 365 * 86_400
const life = endless((value, name) => {
  const isLife = typeof value === 'number' && value >= 0.001 && value <= LONGEST_LIFE
  expect(isLife, value, name, `seconds from 0.001 to ${LONGEST_LIFE} (1000 years), or Infinity`)
})
const pem: Check = (value, name) => {
  if (typeof value !== 'string' || !value.includes('-----BEGIN CERTIFICATE-----'))
    throw config(`${name} is not a certificate in PEM form.`)
}

const host: Check = (value, name) => {
  text(value, name)
  if (/[/@\s]/.test(value as string)) throw config(`${name} is not a host name; a URL belongs into redis.url.`)
}

const TLS = { ca: pem, servername: text }
const tls: Check = (value, name) => {
  if (typeof value !== 'boolean') object(TLS)(value, name)
}
const later: Check = (_value, name) => {
  throw config(`${name} is not available in this version; use a standalone Redis server.`)
}

const REDIS = {
  url: secret,
  host,
  port: count(1, 65535),
  socket: text,
  username: secret,
  password: secret,
  db: count(0, 2 ** 31 - 1),
  tls,
  cluster: later,
  sentinel: later,
}
const FILE = { dir: text, fsync: flag, readOnly: flag }
const LIMITS = {
  maxEventBytes: count(1, 2 ** 29),
  maxQueuedBytes: count(1, Number.MAX_SAFE_INTEGER),
  appendTimeoutMs: count(1, 2 ** 31 - 1),
}
const LIVES = { active: life, completed: life, failed: life }
const CACHE = { enabled: flag, maxBytes: count(1, Number.MAX_SAFE_INTEGER), ttl: object(LIVES) }
const LOGS = { maxAge: life, maxBytes: endless(count(1, Number.MAX_SAFE_INTEGER)) }
const RETENTION = { ...LIVES, logs: object(LOGS) }
const OPTIONS = {
  adapter: text,
  prefix: text,
  redis: object(REDIS),
  limits: object(LIMITS),
  cache: object(CACHE),
  retention: object(RETENTION),
  snapshotEvery: count(0, Number.MAX_SAFE_INTEGER),
  clock: () => {},
  file: object(FILE),
  postgres: () => {},
}

/** The options as JSON, or an `NQ_CONFIG` error. */
export function packOptions(options: StoreOptions): string {
  object(OPTIONS)(options, 'The options')
  const { adapter = 'memory', prefix, limits, cache, retention, snapshotEvery } = options
  if (adapter === 'postgres') {
    throw config(`The adapter ${shown(adapter)} is not available in this version; use 'memory', 'file' or 'redis'.`)
  }
  if (adapter !== 'memory' && adapter !== 'file' && adapter !== 'redis')
    throw config(`There is no adapter ${shown(adapter)}; use 'memory', 'file' or 'redis'.`)
  for (const place of ['file', 'redis'] as const) {
    if (options.adapter === undefined && options[place] !== undefined) {
      const meant = `set adapter: '${place}'`
      throw config(`${place} is set, but adapter is not, and the default keeps events in memory; ${meant}.`)
    }
  }
  if (adapter === 'file' && options.file?.dir === undefined) {
    throw config("file.dir is not set; it names the directory that events are kept in, such as './data/events'.")
  }
  const { tls, ...redis } = options.redis ?? {}
  if (tls === false && redis.url?.startsWith('rediss:'))
    throw config('redis.tls is false, but redis.url begins with rediss:.')
  const packedTls = tls === true ? {} : tls || undefined
  // JSON makes null of Infinity and leaves out what is undefined: for ever, and the default.
  return JSON.stringify({
    adapter,
    prefix,
    limits,
    cache,
    retention,
    snapshotEvery,
    file: adapter === 'file' ? options.file : undefined,
    redis: { ...redis, tls: packedTls },
  })
}

/** A check of an object whose members are known. Members that are `undefined` are absent. */
export function object(members: Record<string, Check>): Check {
  return (value, name) => {
    expect(typeof value === 'object' && value !== null && !Array.isArray(value), value, name, 'an object')
    const within = name.startsWith('The ') ? '' : `${name.replace(/^options\./, '')}.`
    for (const [member, given] of Object.entries(value as object)) {
      const check = Object.hasOwn(members, member) ? members[member] : undefined
      if (!check)
        throw config(`There is no option ${shown(within + member)}; known are ${Object.keys(members).join(', ')}.`)
      if (given !== undefined) check(given, within + member)
    }
  }
}

/** An option as messages show it. A URL in the wrong place may hold a password. */
function shown(value: unknown): string {
  return typeof value === 'string' && /:\/\/|@/.test(value) ? 'a URL' : shownAsIs(value)
}

/** Throws `NQ_CONFIG` unless `holds`. */
export function expect(holds: boolean, value: unknown, name: string, expected: string): void {
  if (!holds) throw config(`${name} is ${shown(value)}; expected ${expected}.`)
}

/** An `NQ_CONFIG` error. */
export function config(message: string): NuxtQueueError {
  return new NuxtQueueError('NQ_CONFIG', message)
}
