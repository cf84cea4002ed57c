/** Installs what tests need from Debian's or Ubuntu's packages, where that is one harmless command. */

import { capture, run } from './command.mjs'
import { ScriptError, say, yellow } from './terminal.mjs'

/**
 * @param {string} what is missing
 * @param {string[]} packages
 * @param {string} help how to get it by other means
 * @throws {ScriptError} when it can't be installed from here; says how to
 */
export async function installWithApt(what, packages, help) {
  const asRoot = rootPrefix()
  if (capture('apt-get', ['--version']) === undefined || asRoot === undefined) {
    throw new ScriptError(
      `${what} was not found.\n  Debian, Ubuntu: sudo apt-get install ${packages.join(' ')}\n${help}`,
    )
  }
  say(yellow(`    ${what} was not found: installing it with apt-get`))
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (/** @type {string[]} */ ...args) => {
    const [command = 'apt-get', ...rest] = [...asRoot, 'apt-get', ...args]
    return run(command, rest, { quiet: true, env })
  }
  await apt('update')
  await apt('install', '-y', '--no-install-recommends', ...packages)
}

/** What to put before a command that needs root: nothing for root, `sudo -n` where that asks no password. */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return capture('sudo', ['-n', 'true']) === undefined ? undefined : ['sudo', '-n']
}
