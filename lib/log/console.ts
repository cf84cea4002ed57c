/**
 * Lines on the console: for people on a terminal, as JSON for everybody else.
 */

import type { LogEntry } from '../../index.js'
import type { LogWriter } from './adapter.js'
import type { Level } from './level.js'

export type Format = 'pretty' | 'json'

interface Terminal {
  isTTY?: boolean
  /** Says no if `NO_COLOR` is set. */
  hasColors?(): boolean
}

type Paint = (text: string, code: number) => string

const GREY = 90
const BOLD = 1
const COLOURS: Record<Level, number> = { debug: GREY, info: 36, warn: 33, error: 31 }

/** Writes lines to the method of their level. Without a format it is the terminal that decides. */
export function consoleWriter(console: Pick<Console, Level>, terminal: Terminal, format?: Format): LogWriter {
  const isPretty = (format ?? (terminal.isTTY ? 'pretty' : 'json')) === 'pretty'
  if (!isPretty) return (entry) => console[entry.level](toJsonLine(entry))
  const hasColours = terminal.isTTY === true && terminal.hasColors?.() === true
  const paint: Paint = hasColours ? (text, code) => `\u001b[${code}m${text}\u001b[0m` : (text) => text
  return (entry) => console[entry.level](toPrettyLine(entry, paint))
}

/** The entry, with what is looked for first at the beginning. */
function toJsonLine({ timestamp, level, message, ...others }: LogEntry): string {
  return JSON.stringify({ timestamp, level, message, ...others })
}

/** `10:00:01.000 INFO  train/fit 0193… read {"rows":150}`, and the stacks of errors below. */
function toPrettyLine(entry: LogEntry, paint: Paint): string {
  const { timestamp, level, message, flowName, stepName, runId, metadata = {} } = entry
  const place = [flowName, stepName].filter(Boolean).join('/')
  const { stacks, others } = takeStacks(metadata)
  const parts = [
    paint(timestamp.slice(11, 23), GREY),
    paint(level.toUpperCase().padEnd(5), COLOURS[level]),
    ...(place ? [paint(printable(place), BOLD)] : []),
    ...(runId ? [paint(printable(runId), GREY)] : []),
    printable(message),
    ...(Object.keys(others).length > 0 ? [paint(printable(JSON.stringify(others)), GREY)] : []),
  ]
  return [parts.join(' '), ...stacks.map((stack) => paint(indented(stack), GREY))].join('\n')
}

/** Metadata without the stacks of the errors in it, which are unreadable as JSON. */
function takeStacks(metadata: Record<string, unknown>): { stacks: string[]; others: Record<string, unknown> } {
  const stacks: string[] = []
  const others = Object.entries(metadata).map(([key, value]) => {
    const { stack, ...error } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
    if (typeof stack !== 'string') return [key, value]
    stacks.push(stack)
    return [key, error]
  })
  return { stacks, others: Object.fromEntries(others) }
}

const indented = (text: string) =>
  text
    .split('\n')
    .map((line) => `    ${printable(line.trim())}`)
    .join('\n')

/** What could pass for another line, or command the terminal, is shown instead. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return JSON.stringify(character)
      .slice(1, -1)
      .replace(/^[\u007f-\u009f\u2028\u2029]$/, escaped)
  })
}

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
