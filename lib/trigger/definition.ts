/**
 * Checks trigger definitions, and parts them: what is data becomes an event, code and secrets stay in the process.
 */

import type { FiringConfig, TriggerDefinition, WebhookAuth, WebhookEndpoint } from '../../index.js'
import { toDuration } from '../duration.js'
import { NuxtQueueError, shown } from '../errors.js'
import { toJson } from '../json.js'
import { checkKnown, checkName, checkObject, invalid } from '../query.js'
import { checkSchema } from '../schema.js'
import { formProblems } from './form.js'

/** The parts of a trigger that no event holds. */
export interface TriggerCode {
  schema?: unknown
  transform?: TriggerDefinition['transform']
  filter?: FiringConfig['filter']
  verify?: WebhookAuth['verify']
  /** Any of them may fit. */
  secrets?: string[]
}

/** A definition in its two parts, and what keeps it from working as far as the data alone does not tell. */
export interface ReadTrigger {
  data: Record<string, unknown>
  code: TriggerCode
  problems: string[]
}

const TRIGGER = [
  ...['name', 'type', 'scope', 'displayName', 'description', 'source', 'tags', 'schema', 'transform', 'endpoint'],
  ...['ui', 'config', 'schedule', 'data'],
]
const ENDPOINT = ['path', 'method', 'auth', 'maxBodyBytes']
const AUTH = [
  ...['type', 'provider', 'secret', 'secretRef', 'header', 'query', 'algorithm', 'encoding', 'prefix', 'payload'],
  ...['timestampHeader', 'idHeader', 'toleranceSeconds', 'allow', 'trustedProxies', 'verify'],
]
const CONFIG = ['persistData', 'retentionDays', 'rateLimit', 'deduplicate', 'debounce', 'filter']
const MEMBERS: Record<string, string[]> = {
  type: ['signature', 'bearer', 'apikey', 'basic', 'ip', 'custom'],
  provider: ['stripe', 'github', 'slack', 'standard-webhooks', 'svix', 'shopify'],
  algorithm: ['sha1', 'sha256', 'sha512'],
  encoding: ['hex', 'base64'],
}
const TYPES = ['event', 'webhook', 'schedule', 'manual']
const SCOPES = ['flow', 'run']
const CODE = ['schema', 'transform', 'filter', 'verify', 'secrets'] as const

/** The names of the code that a trigger has, as its definition records them. */
export function codeNames(code: TriggerCode): string[] {
  return CODE.filter((name) => code[name] !== undefined)
}

/** The member of a definition that a part of its code belongs to. */
export function memberOf(part: string): string {
  if (part === 'filter') return 'config'
  return part === 'verify' || part === 'secrets' ? 'endpoint' : part
}

/** Reads a definition, or throws `NQ_VALIDATION` for members of a wrong type. */
export function readTrigger(definition: TriggerDefinition): ReadTrigger {
  checkKnown(definition, 'The trigger', TRIGGER)
  const { schema, transform, endpoint, config, ui, schedule, ...plain } = definition
  checkPlain(plain)
  const problems: string[] = []
  const code: TriggerCode = {}
  if (schema !== undefined) checkSchema(schema, 'schema')
  if (schema !== undefined) code.schema = schema
  if (transform !== undefined) code.transform = checkFunction(transform, 'transform')
  const data: Record<string, unknown> = { ...plain }
  if (schedule !== undefined) data.schedule = checkObject(schedule, 'schedule')
  if (endpoint !== undefined) data.endpoint = readEndpoint(endpoint, code, problems)
  if (config !== undefined) data.config = readConfig(config, code)
  if (ui !== undefined) {
    checkKnown(ui, 'ui', ['icon', 'color', 'form'])
    problems.push(...formProblems(ui.form, schema))
    data.ui = ui
  }
  const names = codeNames(code)
  if (names.length > 0) data.code = names
  // What JSON can't hold is refused with its place.
  return { data: JSON.parse(toJson(data, 'The trigger') as string), code, problems }
}

function checkPlain(plain: Partial<TriggerDefinition>): void {
  checkName(plain.name, 'name')
  if (!TYPES.includes(plain.type as string)) throw invalid('type', plain.type, `one of ${TYPES.join(', ')}`)
  if (plain.scope !== undefined && !SCOPES.includes(plain.scope))
    throw invalid('scope', plain.scope, "'flow' or 'run'; leave it out for both")
  for (const member of ['displayName', 'description', 'source'] as const)
    if (plain[member] !== undefined) checkName(plain[member], member)
  if (plain.tags !== undefined && !isTexts(plain.tags)) throw invalid('tags', plain.tags, 'an array of strings')
}

function readEndpoint(endpoint: WebhookEndpoint, code: TriggerCode, problems: string[]): object {
  const { auth, ...rest } = checkKnown(notText(endpoint, 'endpoint'), 'endpoint', ENDPOINT)
  checkName(rest.path, 'endpoint.path')
  if (rest.method !== undefined) checkName(rest.method, 'endpoint.method')
  checkCount(rest.maxBodyBytes, 'endpoint.maxBodyBytes')
  return auth === undefined ? rest : { ...rest, auth: readAuth(auth, code, problems) }
}

function readAuth(auth: WebhookAuth, code: TriggerCode, problems: string[]): object {
  const { secret, verify, ...data } = checkKnown(notText(auth, 'endpoint.auth'), 'endpoint.auth', AUTH)
  checkAuthMember('type', data.type ?? null)
  for (const [member, value] of Object.entries(data)) checkAuthMember(member, value)
  if (secret !== undefined) {
    const secrets = typeof secret === 'string' ? [secret] : secret
    if (!isTexts(secrets)) throw unquoted('endpoint.auth.secret', secret, 'a string, or an array of strings')
    code.secrets = [...secrets]
    if (secrets.length === 0) problems.push('endpoint.auth.secret is empty')
    if (data.secretRef !== undefined) problems.push('endpoint.auth has both secret and secretRef; give one of them')
  }
  if (verify !== undefined) {
    if (typeof verify !== 'function') throw unquoted('endpoint.auth.verify', verify, 'a function')
    code.verify = verify
  }
  return data
}

function checkAuthMember(member: string, value: unknown): void {
  const name = `endpoint.auth.${member}`
  if (value === undefined) return
  const known = MEMBERS[member]
  if (known !== undefined && !known.includes(value as string)) throw invalid(name, value, `one of ${known.join(', ')}`)
  if (member === 'allow') {
    if (!isTexts(value)) throw invalid(name, value, 'an array of addresses and CIDR ranges')
  } else if (member === 'toleranceSeconds' || member === 'trustedProxies') checkCount(value, name)
  else checkName(value, name)
}

function readConfig(config: FiringConfig, code: TriggerCode): object {
  const { filter, rateLimit, deduplicate, debounce, ...data } = checkKnown(config, 'config', CONFIG)
  if (filter !== undefined) code.filter = checkFunction(filter, 'config.filter')
  if (data.persistData !== undefined && typeof data.persistData !== 'boolean')
    throw invalid('config.persistData', data.persistData, 'true or false')
  if (data.retentionDays !== undefined && !Number.isFinite(data.retentionDays))
    throw invalid('config.retentionDays', data.retentionDays, 'a number of days')
  return {
    ...data,
    ...(rateLimit !== undefined && { rateLimit: readRateLimit(rateLimit) }),
    ...(deduplicate !== undefined && { deduplicate: readDeduplicate(deduplicate) }),
    ...(debounce !== undefined && { debounce: toDuration(debounce, 'config.debounce') }),
  }
}

function readRateLimit(limit: NonNullable<FiringConfig['rateLimit']>): object {
  const { max, window } = checkKnown(limit, 'config.rateLimit', ['max', 'window'])
  if (!Number.isSafeInteger(max) || max < 0) throw invalid('config.rateLimit.max', max, 'a whole number from 1 on')
  return { max, window: toDuration(window, 'config.rateLimit.window') }
}

function readDeduplicate(same: NonNullable<FiringConfig['deduplicate']>): object {
  const { key, window } = checkKnown(same, 'config.deduplicate', ['key', 'window'])
  return { key: checkName(key, 'config.deduplicate.key'), window: toDuration(window, 'config.deduplicate.window') }
}

/** Refuses a text where an object is expected, which may be a secret. */
function notText<T>(value: T, name: string): T {
  if (typeof value === 'string') throw unquoted(name, value, 'an object')
  return value
}

/** As `invalid`, but not even how the value begins is shown. */
function unquoted(name: string, value: unknown, expected: string): NuxtQueueError {
  const kind = typeof value === 'object' || typeof value === 'function' ? shown(value) : `a ${typeof value}`
  return new NuxtQueueError('NQ_VALIDATION', `${name} is ${kind}; expected ${expected}.`)
}

function checkFunction<F>(value: F, name: string): F {
  if (typeof value !== 'function') throw invalid(name, value, 'a function')
  return value
}

function checkCount(value: unknown, name: string): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= 0))
    throw invalid(name, typeof value === 'string' ? shown(value) : value, 'a whole number from 0 on')
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
