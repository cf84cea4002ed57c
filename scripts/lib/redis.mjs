/** Finds `redis-server` for the tests, or installs it where that is one harmless command. */

import { capture, run } from './command.mjs'
import { ScriptError, say, yellow } from './terminal.mjs'

/**
 * @returns {Promise<string>} the version line of the server
 * @throws {ScriptError} when it is missing and can't be installed from here; says how to
 */
export async function ensureRedisServer() {
  const found = serverVersion()
  if (found) return found
  await installWithApt()
  const installed = serverVersion()
  if (!installed) throw new ScriptError('redis-server was installed but is not on the PATH')
  return installed
}

/** `Redis server v=7.0.15 sha=… bits=64` without its tail. */
const serverVersion = () => capture('redis-server', ['--version'])?.split(' sha=')[0]?.trim()

async function installWithApt() {
  const asRoot = rootPrefix()
  if (capture('apt-get', ['--version']) === undefined || asRoot === undefined) {
    throw new ScriptError(
      'redis-server was not found: the tests start servers of their own and need it on the PATH.\n' +
        '  Debian, Ubuntu: sudo apt-get install redis-server\n' +
        '  Fedora: sudo dnf install redis      macOS: brew install redis\n' +
        '  It need not run as a service.',
    )
  }
  say(yellow('    redis-server was not found: installing it with apt-get'))
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (/** @type {string[]} */ ...args) => {
    const [command = 'apt-get', ...rest] = [...asRoot, 'apt-get', ...args]
    return run(command, rest, { quiet: true, env })
  }
  await apt('update')
  await apt('install', '-y', '--no-install-recommends', 'redis-server')
}

/** What to put before a command that needs root: nothing for root, `sudo -n` where that asks no password. */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return capture('sudo', ['-n', 'true']) === undefined ? undefined : ['sudo', '-n']
}
