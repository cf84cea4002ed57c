/** Installs the node modules when they don't match the lock file. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { root } from './paths.mjs'

/** @returns {Promise<boolean>} whether anything had to be done */
export async function installModules() {
  if (modulesMatchLock()) return false
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { quiet: true })
  return true
}

/**
 * npm notes what it installed in `node_modules/.package-lock.json`. What it left out there are packages of other
 * platforms.
 */
function modulesMatchLock() {
  const noted = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(noted)) return false
  const installed = readPackages(noted)
  const wanted = readPackages(join(root, 'package-lock.json'))
  const isSame = (/** @type {string} */ path) => installed[path]?.version === wanted[path]?.version
  const mayBeAbsent = (/** @type {string} */ path) => path === '' || wanted[path]?.optional === true
  return Object.keys(installed).every(isSame) && Object.keys(wanted).every((path) => isSame(path) || mayBeAbsent(path))
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean } | undefined>}
 */
const readPackages = (file) => JSON.parse(readFileSync(file, 'utf8')).packages ?? {}
