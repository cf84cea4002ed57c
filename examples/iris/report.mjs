// @ts-check
import { countText, durationText, isObject, valueText } from './format.mjs'
import { line } from './terminal.mjs'

/**
 * @typedef {import('nuxt-queue-core').HistoryEntry} HistoryEntry
 * @typedef {import('nuxt-queue-core').StateDiff} StateDiff
 * @typedef {import('./terminal.mjs').Terminal} Terminal
 * @typedef {import('./terminal.mjs').Style} Style
 */

const BARS = '▁▂▃▄▅▆▇█'
/** Columns of a name in front of its value. */
export const KEY_WIDTH = 10

/**
 * How a number in the state went: a small bar chart with the first and the last value.
 *
 * @param {Terminal} terminal
 * @param {string} name
 * @param {HistoryEntry[]} history of one key that holds numbers
 * @returns {string}
 */
export function curveLine(terminal, name, history) {
  const values = history.map((entry) => Number(entry.value))
  const ends = `${valueText(values[0])} → ${valueText(values[values.length - 1])}`
  const room = Math.max(terminal.width - KEY_WIDTH - ends.length - 6, 8)
  return line(terminal, [
    { text: name, width: KEY_WIDTH, style: ['bold'] },
    { text: bars(values, Math.min(room, 60)), style: ['green'] },
    { text: ends },
  ])
}

/**
 * The state, one key a line; tables in it get a line for each row.
 *
 * @param {Terminal} terminal
 * @param {object} state
 * @returns {string[]}
 */
export function stateLines(terminal, state) {
  return Object.entries(state).flatMap(([key, value]) => {
    if (!isTable(value)) return [keyLine(terminal, key, valueText(value))]
    const rows = Object.entries(value)
    const width = Math.max(...rows.map(([name]) => name.length))
    return rows.map(([name, row], index) =>
      keyLine(terminal, index === 0 ? key : '', `${name.padEnd(width)}  ${rowText(row)}`),
    )
  })
}

/**
 * What changed, one key a line: `+` added, `-` removed, `~` changed, with the event that did it.
 *
 * @param {Terminal} terminal
 * @param {StateDiff} diff
 * @returns {string[]}
 */
export function diffLines(terminal, diff) {
  const changes = [
    ...Object.entries(diff.added).map(([key, value]) => change('+', 'green', key, valueText(value))),
    ...Object.entries(diff.removed).map(([key, value]) => change('-', 'red', key, valueText(value))),
    ...Object.entries(diff.changed).map(([key, value]) => change('~', 'yellow', key, stepText(value))),
  ]
  const width = Math.max(...changes.map(({ text }) => text.length))
  return changes.map(({ mark, style, key, text }) =>
    line(terminal, [
      { text: mark, width: 1, style: [style, 'bold'] },
      { text: key, width: KEY_WIDTH, style: ['bold'] },
      { text, width: Math.min(width, terminal.width - KEY_WIDTH - 7), style: [style] },
      { text: diff.events[key] ? `by ${diff.events[key]}` : '', style: ['dim'] },
    ]),
  )
}

/**
 * The steps of a run and how long each took.
 *
 * @param {Terminal} terminal
 * @param {import('nuxt-queue-core').RunStatus} run
 * @returns {string}
 */
export function statusLine(terminal, run) {
  const inOrder = Object.entries(run.steps).sort(([, a], [, b]) => begun(a) - begun(b))
  const steps = inOrder.map(([name, { status, startedAt, endedAt }]) => {
    const took = startedAt && endedAt ? `${Date.parse(endedAt) - Date.parse(startedAt)} ms` : status
    return `${name} ${took}`
  })
  const style = /** @type {Style} */ (run.status === 'completed' ? 'green' : 'red')
  return line(terminal, [{ text: run.status, width: KEY_WIDTH, style: [style, 'bold'] }, { text: steps.join(', ') }])
}

/**
 * The whole demo in one line.
 *
 * @param {Terminal} terminal
 * @param {{ events: number, milliseconds: number, accuracy: number }} totals
 * @returns {string}
 */
export function summaryLine(terminal, { events, milliseconds, accuracy }) {
  const rate = countText(events / (milliseconds / 1000))
  const stored = `${countText(events)} events in ${durationText(milliseconds)}, training included`
  const text = `${stored} · ${rate}/s · accuracy ${percent(accuracy)}`
  return line(terminal, [{ text, style: ['green', 'bold'] }])
}

/**
 * @param {Terminal} terminal
 * @param {string} key
 * @param {string} text
 */
export function keyLine(terminal, key, text) {
  return line(terminal, [{ text: key, width: KEY_WIDTH, style: ['bold'] }, { text }])
}

/** @param {{ startedAt?: string }} step */
function begun({ startedAt }) {
  return startedAt ? Date.parse(startedAt) : Number.MAX_SAFE_INTEGER
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(1)} %`
}

/** @param {'+' | '-' | '~'} mark @param {Style} style @param {string} key @param {string} text */
function change(mark, style, key, text) {
  return { mark, style, key, text }
}

/** @param {{ from: unknown, to: unknown }} change */
function stepText({ from, to }) {
  const text = `${valueText(from)} → ${valueText(to)}`
  if (typeof from !== 'number' || typeof to !== 'number') return text
  return `${text}  (${to >= from ? '+' : ''}${valueText(to - from)})`
}

/**
 * @param {number[]} values
 * @param {number} width
 */
function bars(values, width) {
  const lowest = Math.min(...values)
  const range = Math.max(...values) - lowest || 1
  const length = Math.min(width, values.length)
  return Array.from({ length }, (_, index) => {
    const value = values[Math.round((index * (values.length - 1)) / Math.max(length - 1, 1))]
    return BARS[Math.round(((value - lowest) / range) * (BARS.length - 1))]
  }).join('')
}

/** @param {unknown} row */
function rowText(row) {
  if (!Array.isArray(row)) return valueText(row)
  return row.map((value) => (typeof value === 'number' ? value.toFixed(2).padStart(6) : valueText(value))).join(' ')
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, object>}
 */
function isTable(value) {
  return isObject(value) && Object.values(value).every((row) => isObject(row) || Array.isArray(row))
}
