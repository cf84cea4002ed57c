// @ts-check
import { countText, eventText } from './format.mjs'
import { line } from './terminal.mjs'

/**
 * @typedef {import('nuxt-queue-core').EventRecord} EventRecord
 * @typedef {import('./terminal.mjs').Terminal} Terminal
 * @typedef {import('./terminal.mjs').Style} Style
 * @typedef {import('./terminal.mjs').Cell} Cell
 */

/** Looks of a family of types; the first whose prefix fits counts. */
const FAMILIES = /** @type {{ prefix: string, mark: string, style: Style[] }[]} */ ([
  { prefix: 'flow.step.', mark: '◆', style: ['cyan'] },
  { prefix: 'flow.', mark: '●', style: ['magenta', 'bold'] },
  { prefix: 'emit', mark: '◇', style: ['cyan'] },
  { prefix: 'state.', mark: '▪', style: ['yellow'] },
  { prefix: 'trigger.', mark: '◈', style: ['green'] },
  { prefix: 'log.debug', mark: '·', style: ['dim'] },
  { prefix: 'log.error', mark: '·', style: ['red'] },
  { prefix: '', mark: '·', style: ['blue'] },
])

/** From these widths on there is room for a column more. */
const WIDE_ENOUGH = { step: 80, id: 106 }

/**
 * One line an event; the middle of a long run is left out and counted.
 *
 * @param {Terminal} terminal
 * @param {EventRecord[]} events of one stream, in order
 * @param {object} shown
 * @param {number} shown.head events kept at the beginning
 * @param {number} shown.tail and at the end
 * @param {(event: EventRecord) => string} [shown.who] who wrote an event, in one letter
 * @returns {string[]}
 */
export function timelineLines(terminal, events, { head, tail, who }) {
  const start = events.length > 0 ? Date.parse(events[0].timestamp) : 0
  /** @param {EventRecord} event */
  const show = (event) => eventLine(terminal, event, elapsedText(Date.parse(event.timestamp) - start), who)
  if (events.length <= head + tail + 1) return events.map(show)
  const left = events.slice(head, -tail)
  return [...events.slice(0, head).map(show), ...gapLines(terminal, left), ...events.slice(-tail).map(show)]
}

/**
 * @param {Terminal} terminal
 * @param {EventRecord} event
 * @param {string} elapsed since the run began
 * @param {(event: EventRecord) => string} [who]
 */
function eventLine(terminal, event, elapsed, who) {
  const { mark, style } = looksOf(event.type)
  /** @type {Cell[]} */
  const cells = [
    { text: mark, width: 1, style },
    { text: elapsed.padStart(7), width: 7, style: ['dim'] },
  ]
  if (who) cells.push({ text: who(event), width: 1, style: ['bold'] })
  if (terminal.width >= WIDE_ENOUGH.id) cells.push({ text: event.id, width: 17, style: ['dim'] })
  cells.push({ text: event.type, width: 19, style })
  if (terminal.width >= WIDE_ENOUGH.step) cells.push({ text: event.stepName ?? '', width: 8, style: ['cyan'] })
  return line(terminal, [...cells, { text: eventText(event), style: event.type === 'log.debug' ? ['dim'] : [] }])
}

/**
 * @param {Terminal} terminal
 * @param {EventRecord[]} left
 */
function gapLines(terminal, left) {
  /** @type {Map<string, number>} */
  const counts = new Map()
  for (const { type } of left) counts.set(type, (counts.get(type) ?? 0) + 1)
  const parts = [...counts].sort(([, a], [, b]) => b - a).map(([type, count]) => `${count} ${type}`)
  /** @type {Cell} */
  const mark = { text: '┊', width: 1, style: ['dim'] }
  return [
    line(terminal, [mark]),
    line(terminal, [mark, { text: `${countText(left.length)} more events, not shown here`, style: ['bold'] }]),
    line(terminal, [mark, { text: parts.join(', '), style: ['dim'] }]),
    line(terminal, [mark]),
  ]
}

/** @param {number} milliseconds */
function elapsedText(milliseconds) {
  if (milliseconds < 1000) return `+${milliseconds} ms`
  return `+${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 1)} s`
}

/** @param {string} type */
function looksOf(type) {
  return FAMILIES.find(({ prefix }) => type.startsWith(prefix)) ?? FAMILIES[FAMILIES.length - 1]
}
