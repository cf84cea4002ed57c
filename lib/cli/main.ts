/**
 * `npx nuxt-queue-core`: finds the subcommand, reads its options, says what went wrong.
 */

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { NuxtQueueError, shown } from '../errors.js'
import { type Command, type Options, UsageError, type Values } from './command.js'
import { migrate } from './migrate.js'
import { say, type Terminal } from './terminal.js'

const NAME = 'nuxt-queue-core'
const COMMANDS: readonly Command[] = [migrate]

/** Does what the arguments say; resolves with the exit code. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = '--help', ...others] = args
  try {
    if (name === '--help' || name === '-h' || name === 'help') return help(terminal, others[0])
    if (name === '--version' || name === '-v') return version(terminal)
    const command = find(name)
    const { help: wantsHelp, ...values } = read(command, others)
    return wantsHelp ? describe(terminal, command) : await command.run(values, terminal)
  } catch (error) {
    return fail(terminal, error)
  }
}

function find(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name)
  if (command) return command
  const known = COMMANDS.map((each) => each.name).join(', ')
  throw new UsageError(`There is no command ${shown(name)}; known are ${known}.`)
}

function read({ name, options }: Command, args: string[]): Values {
  const all = { ...options, help: { type: 'boolean', short: 'h' } } as const
  try {
    return parseArgs({ args, options: all, strict: true, allowPositionals: false }).values as Values
  } catch (error) {
    throw new UsageError(`${name}: ${(error as Error).message}`)
  }
}

function fail({ stderr }: Terminal, error: unknown): number {
  if (error instanceof UsageError) {
    stderr.write(`${error.message}\nMore: ${NAME} --help\n`)
    return 2
  }
  // What went wrong at the user's place, and what to do. Anything else is a defect, for which one needs the stack.
  const isKnown = error instanceof NuxtQueueError && error.code !== 'NQ_INTERNAL'
  stderr.write(isKnown ? `${error.code}: ${error.message}\n` : `${(error as Error).stack ?? error}\n`)
  return 1
}

function version(terminal: Terminal): number {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  say(terminal, (JSON.parse(manifest) as { version: string }).version)
  return 0
}

function help(terminal: Terminal, name: string | undefined): number {
  if (name !== undefined) return describe(terminal, find(name))
  say(terminal, `Usage: ${NAME} <command> [options]\n`)
  for (const { name, summary } of COMMANDS) say(terminal, `  ${name.padEnd(12)}${summary}`)
  say(terminal, `\nMore of one: ${NAME} <command> --help`)
  return 0
}

function describe(terminal: Terminal, { name, summary, description, options }: Command): number {
  say(terminal, `Usage: ${NAME} ${name} [options]\n\n${summary}\n\n${description}\n`)
  for (const line of lines(options)) say(terminal, line)
  return 0
}

function lines(options: Options): string[] {
  const named = Object.entries(options).map(([name, { value, help }]) => [value ? `${name} ${value}` : name, help])
  const width = Math.max(...named.map(([name = '']) => name.length))
  return named.map(([name = '', help = '']) => `  --${name.padEnd(width)}  ${help}`)
}
