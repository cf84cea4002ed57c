// The results as an aligned table, which is Markdown at the same time, and as JSON.

import { writeFileSync } from 'node:fs'
import { machineLine } from './machine.mjs'

const HEAD = ['what', 'variant', 'median', '', 'ratio', 'spread', 'target', '']
const RIGHT = new Set([2, 4])
const TOLERANCE = 0.95

export const LEGEND = `ratio: how many times as good as the first line of the block, median over the rounds of one interleaved run;
spread: its quartiles; target: ✓ reached, ✗ below, – none.`

/**
 * @param {object} machine
 * @param {object[]} results of `measure`
 */
export function printReport(machine, results) {
  console.log(`\n${machineLine(machine)}\n\n${table(results)}\n\n${LEGEND}\n`)
}

export function writeJson(path, machine, plan, results) {
  writeFileSync(path, `${JSON.stringify({ machine, plan, results }, null, 2)}\n`)
}

/** @param {object[]} results */
export function table(results) {
  const rows = [HEAD, ...results.flatMap(rowsOf)]
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const lines = rows.map((row) => line(row.map((cell, i) => pad(cell, widths[i], RIGHT.has(i)))))
  const rule = line(
    widths.map((width, i) => (RIGHT.has(i) ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))),
    '',
  )
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

function rowsOf(result) {
  return result.variants.map((variant, i) => [
    i === 0 ? result.name : '',
    variant.name,
    readable(variant.median),
    result.unit,
    ...comparison(variant, i === 0),
    variant.core ? targetText(result) : '',
    variant.core ? mark(result, variant) : '',
  ])
}

function comparison({ ratio: value, spread }, isBaseline) {
  if (value === undefined) return ['', '']
  return isBaseline ? ['1', ''] : [`${ratio(value)} ×`, spread.map(ratio).join('–')]
}

function targetText({ target, below, unit }) {
  const parts = []
  if (target) parts.push(`≥ ${target} ×`)
  if (below) parts.push(`< ${below.toLocaleString('en-US')} ${unit}`)
  return parts.join(', ') || '–'
}

/** A measured ratio within 5 % of "the same time" can't be told from it. */
function mark({ target, below }, variant) {
  if (!target && !below) return ''
  const fastEnough = !target || variant.ratio >= (target === 1 ? TOLERANCE : target)
  const shortEnough = !below || variant.median < below
  return fastEnough && shortEnough ? '✓' : '✗ below'
}

function ratio(value) {
  return value < 10 ? value.toFixed(2) : value.toFixed(1)
}

function readable(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)
}

function line(cells, gap = ' ') {
  return `|${gap}${cells.join(`${gap}|${gap}`)}${gap}|`
}

function pad(text, width, right) {
  return right ? text.padStart(width) : text.padEnd(width)
}
