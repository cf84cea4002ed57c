/** How long a soak takes, how hard it works, and what it lets pass. */

import { parseArgs } from 'node:util'
import { ScriptError } from '../lib/terminal.mjs'

const MOST_LINES = 240
const LEAST_WARM_UP_S = 75

export const USAGE = `Usage: npm run soak -- [options]

  --minutes <n>    how long, default 10; below 4 the lives have no time to come to rest
  --rate <n>       runs started a second, default 20
  --tolerance <n>  by how many per cent the second half's maximum may exceed the first half's, default 15
  --help`

/**
 * @typedef {object} SoakOptions
 * @property {number} seconds
 * @property {number} warmUp seconds at the beginning that the verdict leaves out: until as much expires as is written
 * @property {number} every seconds from one sample to the next
 * @property {number} rate runs started a second
 * @property {number} tolerance 0.15 for 15 %
 * @property {boolean} help
 */

/**
 * @param {string[]} args without node and script
 * @returns {SoakOptions}
 */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '10' },
      rate: { type: 'string', default: '20' },
      tolerance: { type: 'string', default: '15' },
      help: { type: 'boolean', default: false },
    },
  })
  const seconds = positive('--minutes', values.minutes) * 60
  return {
    seconds,
    warmUp: Math.min(Math.max(LEAST_WARM_UP_S, seconds / 5), seconds / 2),
    every: Math.min(Math.max(5, seconds / MOST_LINES), seconds / 8),
    rate: positive('--rate', values.rate),
    tolerance: positive('--tolerance', values.tolerance) / 100,
    help: values.help,
  }
}

/**
 * @param {string} name
 * @param {string} text
 */
function positive(name, text) {
  const value = Number(text)
  if (!(value > 0 && Number.isFinite(value))) throw new ScriptError(`${name} is '${text}'; expected a number above 0`)
  return value
}
