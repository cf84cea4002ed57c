/**
 * Durations as callers give them: milliseconds, or text such as `90m`.
 */

import { invalid } from './query.js'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** Whole milliseconds from 0 on. */
export function toDuration(value: number | string, name: string): number {
  const ms = typeof value === 'string' ? parse(value) : value
  if (typeof ms === 'number' && Number.isFinite(ms) && ms >= 0) return Math.round(ms)
  const forms = 'milliseconds from 0 on, or a text such as "250ms", "10s", "90m", "24h", "2d", "1w"'
  throw invalid(name, value, forms)
}

function parse(text: string): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/.exec(text) ?? []
  return amount === undefined ? Number.NaN : Number(amount) * (UNITS[unit] as number)
}
