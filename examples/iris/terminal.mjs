// @ts-check
/**
 * Width, colours and alignment of plain text in a terminal. Texts are measured before they are
 * coloured, so escape sequences never count as width.
 */

/** @type {Record<string, [open: number, close: number]>} */
const CODES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  magenta: [35, 39],
  cyan: [36, 39],
}

/**
 * @typedef {keyof typeof CODES} Style
 * @typedef {{ text: string, width?: number, style?: Style[] }} Cell `width`: cut or filled to it
 */

/**
 * @typedef {object} Terminal
 * @property {number} width columns to fill
 * @property {(text: string, ...styles: Style[]) => string} paint
 */

/**
 * @param {{ isTTY?: boolean, columns?: number }} output such as `process.stdout`
 * @param {Record<string, string | undefined>} env
 * @returns {Terminal}
 */
export function openTerminal(output, env) {
  const coloured = wantsColour(output, env)
  return {
    width: Math.min(Math.max(output.columns || Number(env.COLUMNS) || 100, 40), 120),
    paint: (text, ...styles) => (coloured ? styles.reduce(wrap, text) : text),
  }
}

/**
 * `FORCE_COLOR` decides first, as in Node itself, then `NO_COLOR`; otherwise a terminal gets colours
 * and a pipe or file does not.
 *
 * @param {{ isTTY?: boolean }} output
 * @param {Record<string, string | undefined>} env
 */
function wantsColour(output, env) {
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  if (env.NO_COLOR) return false
  return output.isTTY === true && env.TERM !== 'dumb'
}

/** @param {string} text @param {Style} style */
function wrap(text, style) {
  const [open, close] = CODES[style]
  return text === '' ? text : `\x1b[${open}m${text}\x1b[${close}m`
}

/**
 * Cuts a text to a width, with `…` for what is missing.
 *
 * @param {string} text
 * @param {number} width at least 1
 */
export function cut(text, width) {
  return text.length <= width ? text : `${text.slice(0, width - 1).trimEnd()}…`
}

/**
 * One line of cells, two spaces in front and between, never wider than the terminal.
 *
 * @param {Terminal} terminal
 * @param {Cell[]} cells
 */
export function line(terminal, cells) {
  let room = terminal.width
  let text = ''
  for (const { text: content, width, style = [] } of cells) {
    room -= 2
    if (room < 1) break
    const fitted = cut(content, Math.min(width ?? room, room)).padEnd(width ?? 0)
    room -= fitted.length
    text += `  ${terminal.paint(fitted, ...style)}`
  }
  return text.trimEnd()
}

/**
 * A heading with a rule to the right edge, and a remark at its end where there is room.
 *
 * @param {Terminal} terminal
 * @param {string} title
 * @param {string} [remark]
 */
export function heading(terminal, title, remark = '') {
  const end = title.length + remark.length + 8 <= terminal.width && remark ? ` ${remark}` : ''
  const rule = '─'.repeat(Math.max(terminal.width - title.length - end.length - 1, 0))
  return `${terminal.paint(title, 'bold')} ${terminal.paint(rule + end, 'dim')}`
}
