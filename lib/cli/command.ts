/**
 * What a subcommand is: one file of this folder each, listed in `main.ts`.
 */

import type { ParseArgsConfig } from 'node:util'
import type { Terminal } from './terminal.js'

/** Options by their long names, as `util.parseArgs` takes them, with a line of help. */
export type Options = Record<string, NonNullable<ParseArgsConfig['options']>[string] & { help: string; value?: string }>

/** Options as they were given. */
export type Values = Record<string, string | boolean | undefined>

/** A subcommand. */
export interface Command {
  /** Its name on the command line. */
  name: string
  /** What it does, in a line. */
  summary: string
  /** More, in paragraphs. */
  description: string
  options: Options
  /** Does it; resolves with the exit code: 0, or 1 if something is not as it should be. */
  run(values: Values, terminal: Terminal): Promise<number>
}

/** The arguments can't be understood: exit code 2, with the way to help. */
export class UsageError extends Error {}
