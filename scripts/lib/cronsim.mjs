/** Sets up `cronsim`, a Python package that computes schedules as Debian's cron does: tests compare with it. */

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installWithApt } from './apt.mjs'
import { capture, run } from './command.mjs'
import { cacheDir, root } from './paths.mjs'
import { ScriptError } from './terminal.mjs'

const requirements = join(root, '__test__/support/oracles/requirements.txt')
const home = join(cacheDir, 'cronsim')
const isWindows = process.platform === 'win32'
const anyPython = isWindows ? 'python' : 'python3'

/** The Python that has it. */
export const python = join(home, isWindows ? 'Scripts/python.exe' : 'bin/python')

/**
 * @returns {Promise<string>} what is installed
 * @throws {ScriptError} when Python is missing and can't be installed from here; says how to
 */
export async function ensureCronsim() {
  const wanted = wantedVersions()
  if (installedVersions() === wanted) return wanted
  if (!hasPython()) {
    const help = '  Fedora: sudo dnf install python3      macOS: brew install python'
    await installWithApt('python3 with venv', ['python3', 'python3-venv'], help)
  }
  rmSync(home, { recursive: true, force: true })
  await run(anyPython, ['-m', 'venv', home], { quiet: true })
  const options = ['--quiet', '--disable-pip-version-check', '--require-hashes', '--no-deps']
  await run(python, ['-m', 'pip', 'install', ...options, '-r', requirements], { quiet: true })
  if (installedVersions() !== wanted) throw new ScriptError(`${wanted} was installed to ${home}, but is not there`)
  return wanted
}

/** Debian has venv in a package of its own; it needs ensurepip. */
const hasPython = () => capture(anyPython, ['-c', 'import venv, ensurepip']) !== undefined

function wantedVersions() {
  const pinned = readFileSync(requirements, 'utf8').matchAll(/^(\w+)==(\S+)/gm)
  return Array.from(pinned, ([, name, version]) => `${name} ${version}`).join(', ')
}

function installedVersions() {
  if (!existsSync(python)) return undefined
  const code =
    'from importlib.metadata import version; print(", ".join(f"{name} {version(name)}" for name in ("cronsim", "tzdata")))'
  return capture(python, ['-c', code])?.trim()
}
