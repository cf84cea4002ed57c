/**
 * The reference of the config key `queue`, made of the declarations that an editor shows. They are formatted by Biome, so a
 * line tells what it is.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './paths.mjs'

/** Where it stands. */
export const referenceFile = join(root, 'docs/configuration.md')

const INTRODUCTION = `# Configuration

The config key \`queue\` of \`nuxt.config.ts\`, and what \`open\` takes. Made of \`index.d.ts\` and \`nuxt.d.ts\` by
\`node scripts/config-reference.mjs\`. [nuxt.md](nuxt.md) says how to begin.

Where a variable of the environment is named, a server that is built reads it when it starts, and it goes before what
\`nuxt.config.ts\` says. Every other option that is a text, a number, or true or false has a variable, too, if \`nuxt.config.ts\` gives it
a value to replace: \`queue.flows.suspendAfter\` is \`NUXT_QUEUE_FLOWS_SUSPEND_AFTER\`.
`

/** Not for a config file. */
const LEFT_OUT = ['clock']

/**
 * @typedef {object} Member
 * @property {string} name
 * @property {string} type as declared
 * @property {string[]} doc its lines
 *
 * @typedef {{ members: Member[], extended?: string }} Interface
 */

/** What the environment sets without more, as the module has it. @type {object} */
let fromEnvironment = {}
/** By name. @type {Record<string, Interface>} */
let interfaces = {}

/** The reference as Markdown. */
export async function configReference() {
  const options = await import(pathToFileURL(join(root, 'dist/nuxt/options.js')).href)
  fromEnvironment = { ...options.TEXTS, workers: '' }
  interfaces = { ...readInterfaces('index.d.ts'), ...readInterfaces('nuxt.d.ts') }
  const sections = [...membersOf('QueueConfig', 'QueueModuleOptions')].map((member) =>
    [`## ${member.name}`, ...describe(member, member.name)].join('\n\n'),
  )
  return `${[INTRODUCTION.trim(), ...sections].join('\n\n')}\n`
}

/**
 * A member, and those of the interface that it is of.
 * @param {Member} member
 * @param {string} path
 * @returns {string[]} paragraphs
 */
function describe({ type, doc }, path) {
  const variable = variableOf(path)
  const head = `**\`${path}\`**: \`${type}\`${variable ? ` · \`${variable}\`` : ''}`
  const inner = /(?:^|\| )([A-Z]\w+)$/.exec(type)?.[1] ?? ''
  const nested = inner in interfaces ? membersOf(inner) : []
  return [head, textOf(doc), ...nested.flatMap((each) => describe(each, `${path}.${each.name}`))]
}

/**
 * What interfaces have and inherit; the later one's word holds.
 * @param {string[]} names
 */
function membersOf(...names) {
  const all = names.flatMap((name) => {
    const { members = [], extended = '' } = interfaces[name] ?? {}
    return [...(interfaces[extended]?.members ?? []), ...members]
  })
  const members = new Map(all.map((member) => [member.name, member]))
  return [...members.values()].filter(({ name }) => !LEFT_OUT.includes(name))
}

/** @param {string} path */
function variableOf(path) {
  const names = path.split('.')
  /** @type {any} */
  let value = fromEnvironment
  for (const name of names) value = value?.[name]
  if (typeof value !== 'string') return undefined
  const upper = names.map((name) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase())
  return `NUXT_QUEUE_${upper.join('_')}`
}

/**
 * A comment as Markdown, without links to declarations.
 * @param {string[]} doc
 */
function textOf(doc) {
  const link = /\{@link ([^}|]+?)(?:\s*\|\s*([^}]+))?\}/g
  return doc
    .join('\n')
    .trim()
    .replaceAll(link, (_, /** @type {string} */ target, /** @type {string} */ text) => `\`${text ?? target}\``)
}

/** @param {string} file */
function readInterfaces(file) {
  /** @type {Record<string, Interface>} */
  const found = {}
  /** @type {Interface | undefined} */
  let current
  /** @type {string[]} */
  let doc = []
  for (const line of readFileSync(join(root, file), 'utf8').split('\n')) {
    const [, name, extended] = /^export interface (\w+)(?: extends (\w+)[^{]*)? \{$/.exec(line) ?? []
    if (name) {
      current = { members: [], extended }
      found[name] = current
    } else if (line === '}') current = undefined
    const comment = /^ {2}(?:\/\*\*| \*)\/? ?(.*?)(?: ?\*\/)?$/.exec(line)?.[1]
    if (line.startsWith('  /**')) doc = []
    if (comment !== undefined) doc.push(comment)
    const [, member, type] = /^ {2}(\w+)\??: (.+)$/.exec(line) ?? []
    if (member && type) current?.members.push({ name: member, type: named(type), doc })
  }
  return found
}

/** @param {string} type where a part of `QueueConfig` is extended, that part is told */
function named(type) {
  return type.startsWith("QueueConfig['registry'] & ") ? 'RegistryConfig' : type
}
