/** Whether this machine has what the project is built with, and what to do if not. */

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { capture } from './command.mjs'
import { root } from './paths.mjs'
import { ScriptError } from './terminal.mjs'

/**
 * Node's version against `engines` of package.json.
 * @throws {ScriptError} when this Node is too old
 */
export function checkNode() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  if (satisfies(process.versions.node, engines.node)) return
  throw new ScriptError(
    `Node ${process.versions.node} can't run this project: it needs ${engines.node}.\n` +
      '  Install a current Node 22 or 24 (https://nodejs.org, or a version manager such as nvm or fnm) and try again.',
  )
}

/**
 * Understands `^x.y.z` and `>=x.y.z`, joined by `||`: all that `engines` here uses.
 * @param {string} version
 * @param {string} range
 */
export function satisfies(version, range) {
  return range.split('||').some((part) => {
    const [, operator, wanted] = /^\s*(\^|>=)\s*(\S+)\s*$/.exec(part) ?? []
    if (!wanted) throw new ScriptError(`engines.node of package.json: can't read '${part.trim()}'`)
    const sameMajor = version.split('.')[0] === wanted.split('.')[0]
    return compareVersions(version, wanted) >= 0 && (operator === '>=' || sameMajor)
  })
}

/**
 * @param {string} a
 * @param {string} b
 */
function compareVersions(a, b) {
  const right = b.split('.').map(Number)
  for (const [index, number] of a.split('.').map(Number).entries()) {
    if (number !== right[index]) return number - (right[index] ?? 0)
  }
  return 0
}

/**
 * Finds cargo (also where rustup puts it before a new shell has it on its path), a new enough compiler and a linker.
 * @returns {{ cargo: string, rustc: string }} their version lines
 * @throws {ScriptError} when one is missing or too old
 */
export function checkRust() {
  addCargoToPath()
  const cargo = capture('cargo', ['--version'])?.trim()
  const rustc = capture('rustc', ['-vV'])?.trim()
  if (!cargo || !rustc) {
    throw new ScriptError(
      'The Rust toolchain is missing: cargo was not found.\n' +
        `  Install Rust ${minimumRust()} or newer with rustup (https://rustup.rs), open a new shell, and try again.`,
    )
  }
  const version = /^release: (\S+)/m.exec(rustc)?.[1]?.split('-')[0] ?? '0'
  if (compareVersions(version, minimumRust()) < 0) {
    throw new ScriptError(`Rust ${version} is too old: the crate needs ${minimumRust()}. Run: rustup update`)
  }
  checkLinker()
  return { cargo, rustc }
}

function addCargoToPath() {
  const bin = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin')
  if (capture('cargo', ['--version']) === undefined && existsSync(bin)) {
    process.env.PATH = `${bin}${delimiter}${process.env.PATH ?? ''}`
  }
}

/** `rust-version` of Cargo.toml, with three numbers. */
function minimumRust() {
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8')
  const version = /^rust-version = "([\d.]+)"/m.exec(manifest)?.[1] ?? '1.88'
  return version.split('.').length === 2 ? `${version}.0` : version
}

function checkLinker() {
  if (process.platform === 'win32' || capture('cc', ['--version']) !== undefined) return
  const how = process.platform === 'darwin' ? 'xcode-select --install' : 'on Debian: apt-get install build-essential'
  throw new ScriptError(`A C compiler is missing (cc): Rust links with it. Install one (${how}) and try again.`)
}
