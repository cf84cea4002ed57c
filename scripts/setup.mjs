/**
 * Makes a clone ready to run: node modules, native addon, TypeScript layer. Each is done only when its inputs have
 * changed, and says how long it took. Everything here runs on bare Node: on a fresh clone nothing is installed.
 */

import { buildAddon, sizeOf } from './lib/addon.mjs'
import { compileLayer } from './lib/layer.mjs'
import { installModules } from './lib/modules.mjs'
import { bold, cyan, duration, green, item, say } from './lib/terminal.mjs'
import { checkNode, checkRust } from './lib/toolchain.mjs'

const fresh = 'up to date'

/**
 * The steps in their order. Each returns what it did, for people.
 * @type {Array<{ name: string, about: string, run: (options: SetupOptions) => Promise<string> }>}
 */
export const setupSteps = [
  {
    name: 'modules',
    about: 'node modules installed as package-lock.json says',
    run: async () => {
      checkNode()
      return (await installModules()) ? 'installed' : fresh
    },
  },
  {
    name: 'addon',
    about: 'native addon, release build with link-time optimisation (takes some minutes the first time)',
    run: async (options) => {
      const { file, built } = await buildAddon(options)
      return `${built ? 'built' : fresh}, ${file}, ${sizeOf(file)}`
    },
  },
  {
    name: 'layer',
    about: 'TypeScript layer, lib/ to dist/',
    run: async (options) => ((await compileLayer(options)) ? 'compiled' : fresh),
  },
]

/**
 * @typedef {object} SetupOptions
 * @property {boolean} [force] build even what is up to date
 * @property {string} [target] a Rust triple when the addon is for another machine
 */

/** @param {SetupOptions} [options] */
export async function ensureSetup(options = {}) {
  checkNode()
  checkRust()
  say(bold('Set-up'))
  for (const { name, about, run } of setupSteps) {
    const started = Date.now()
    const mark = setTimeout(() => say(`  ${cyan('…')} ${about}`), 1500)
    const outcome = await run(options).finally(() => clearTimeout(mark))
    item(green('✔'), name, `${outcome} (${duration(Date.now() - started)})`)
  }
  say()
}
