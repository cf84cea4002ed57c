/**
 * How urgent a line is.
 */

import type { LogEntry } from '../../index.js'

export type Level = LogEntry['level']

/** Least urgent first. */
export const LEVELS = ['debug', 'info', 'warn', 'error'] as const satisfies readonly Level[]

const URGENCY: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 }

/** Whether a level is at least as urgent as another. */
export function isAtLeast(level: Level, least: Level): boolean {
  return URGENCY[level] >= URGENCY[least]
}

/** The level that somebody named; one that is not known is no reason to lose the line. */
export function toLevel(given: unknown): Level {
  return typeof given === 'string' && Object.hasOwn(URGENCY, given) ? (given as Level) : 'info'
}
