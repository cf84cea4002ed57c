/** Finds `redis-server` for the tests, or installs it. */

import { installWithApt } from './apt.mjs'
import { capture } from './command.mjs'
import { ScriptError } from './terminal.mjs'

/**
 * @returns {Promise<string>} the version line of the server
 * @throws {ScriptError} when it is missing and can't be installed from here; says how to
 */
export async function ensureRedisServer() {
  const found = serverVersion()
  if (found) return found
  const help =
    '  Fedora: sudo dnf install redis      macOS: brew install redis\n' +
    '  The tests start servers of their own and need it on the PATH; it need not run as a service.'
  await installWithApt('redis-server', ['redis-server'], help)
  const installed = serverVersion()
  if (!installed) throw new ScriptError('redis-server was installed but is not on the PATH')
  return installed
}

/** `Redis server v=7.0.15 sha=… bits=64` without its tail. */
const serverVersion = () => capture('redis-server', ['--version'])?.split(' sha=')[0]?.trim()
