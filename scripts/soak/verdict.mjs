/** Whether a soak stayed bounded: no maximum of its second half much above that of its first. */

import { bold, green, red, say } from '../lib/terminal.mjs'
import { MEASURES } from './gauge.mjs'

const HEAD = ['what', 'first half, most', 'second half, most', 'growth', 'allowed', '']

/** @typedef {import('./gauge.mjs').Sample} Sample */

/**
 * Prints the table.
 * @param {Sample[]} samples of the time after the warm-up
 * @param {number} tolerance
 * @returns {boolean} whether all of it is within the tolerance
 */
export function judgeSamples(samples, tolerance) {
  const middle = Math.ceil(samples.length / 2)
  const rows = MEASURES.map(({ measure, name, show }) => {
    const most = (/** @type {Sample[]} */ half) => Math.max(...half.map((sample) => sample[measure]))
    const [first, second] = [most(samples.slice(0, middle)), most(samples.slice(middle))]
    const isBounded = second <= first * (1 + tolerance)
    const growth = first === 0 ? 0 : second / first - 1
    const cells = [name, show(first), show(second), percent(growth), `≤ ${percent(tolerance)}`, isBounded ? '✓' : '✗']
    return { cells, isBounded }
  })
  say(`\n${table([HEAD, ...rows.map(({ cells }) => cells)])}\n`)
  return rows.every(({ isBounded }) => isBounded)
}

/**
 * @param {import('./journal.mjs').Journal} journal
 * @returns {boolean} whether nothing failed
 */
export function judgeFailures({ failures }) {
  for (const [message, times] of failures) say(`${red('✘')} ${times} times: ${message}`)
  return failures.size === 0
}

/**
 * The last line, for people and as an exit code.
 * @param {boolean} isGood
 */
export function conclude(isGood) {
  say(bold(isGood ? green('✔ everything stays bounded') : red('✘ not bounded, or something failed')))
  return isGood ? 0 : 1
}

const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`

/** @param {string[][]} rows */
function table(rows) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`
  const [head = '', ...body] = rows.map((row) => line(row.map((cell, i) => cell.padEnd(widths[i] ?? 0))))
  return [head, line(widths.map((width) => '-'.repeat(width))), ...body].join('\n')
}
