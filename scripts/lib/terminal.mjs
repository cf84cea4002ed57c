/** How the scripts speak: colours, marks, durations. */

const wantsColour = process.env.FORCE_COLOR
  ? process.env.FORCE_COLOR !== '0'
  : process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

/** @param {string} code */
const paint = (code) => (/** @type {string} */ text) => (wantsColour ? `\x1b[${code}m${text}\x1b[0m` : text)

export const bold = paint('1')
export const dim = paint('2')
export const red = paint('31')
export const green = paint('32')
export const yellow = paint('33')
export const cyan = paint('36')

/** Whether someone is watching: then tools write to the terminal themselves. */
export const isInteractive = process.stdout.isTTY === true && !process.env.CI

/**
 * `850` → `0.9 s`, `105000` → `1 min 45 s`.
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = ms / 1000
  if (seconds < 100) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}

/** @param {string} text */
export function say(text = '') {
  process.stdout.write(`${text}\n`)
}

/**
 * One aligned line of a check-list: mark, name, what happened.
 * @param {string} mark
 * @param {string} name
 * @param {string} detail
 */
export function item(mark, name, detail) {
  say(`  ${mark} ${name.padEnd(14)} ${dim(detail)}`)
}

/** A failure whose message is all the user needs: printed without a stack. */
export class ScriptError extends Error {}

/**
 * Runs a script's main function, and turns what it throws into an exit code.
 * @param {() => Promise<number | void>} main resolves to the exit code; nothing means 0
 */
export async function runScript(main) {
  try {
    process.exitCode = (await main()) ?? 0
  } catch (error) {
    const isUsage = error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
    const known = error instanceof ScriptError || isUsage
    process.stderr.write(
      `\n${red('✘')} ${known ? /** @type {Error} */ (error).message : error instanceof Error ? error.stack : error}\n`,
    )
    process.exitCode = 1
  }
}
