/** Finds Chromium for the tests of pages, or installs it. */

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { installWithApt } from './apt.mjs'
import { capture } from './command.mjs'
import { ScriptError } from './terminal.mjs'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

/**
 * @returns {Promise<string>} its version
 * @throws {ScriptError} when it is missing and can't be installed from here; says how to
 */
export async function ensureChromium() {
  const found = chromium()
  if (found) return found.version
  await installWithApt(
    'Chromium',
    ['chromium'],
    '  Fedora: sudo dnf install chromium      macOS: brew install --cask chromium',
  )
  const installed = chromium()
  if (!installed) throw new ScriptError('Chromium was installed but is not on the PATH')
  return installed.version
}

/** The browser on the PATH. */
export function chromium() {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const path = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((each) => existsSync(each))
  const version = path && capture(path, ['--version'])?.trim()
  return path && version ? { path, version } : undefined
}
