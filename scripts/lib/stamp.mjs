/** Knowing whether something was built from what lies there now: by content, as a fresh clone's times say nothing. */

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { cacheDir, root } from './paths.mjs'

/**
 * All files under a path of the repository, sorted; a file gives itself, a missing path nothing.
 * @param {string} path relative to the repository
 * @returns {string[]} absolute paths
 */
function filesUnder(path) {
  const full = join(root, path)
  if (!existsSync(full)) return []
  if (!statSync(full).isDirectory()) return [full]
  return readdirSync(full, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()
}

/**
 * One hash over names and contents of files and folders, and over any other text that matters.
 * @param {string[]} paths relative to the repository
 * @param {string[]} [extra]
 */
export function contentHash(paths, extra = []) {
  const hash = createHash('sha256')
  for (const file of paths.flatMap(filesUnder)) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update('\0')
  }
  for (const text of extra) hash.update(`${text}\0`)
  return hash.digest('hex').slice(0, 32)
}

/**
 * Remembers the inputs and outputs of one build step. Make it before the build: the inputs are read at once, so a
 * file that is edited while the build runs counts as not yet built.
 * @param {string} name
 * @param {{ inputs: string, outputs: () => string }} hashes
 */
export function stamp(name, { inputs, outputs }) {
  const file = join(cacheDir, `${name}.stamp`)
  const current = () => `${inputs} ${outputs()}\n`
  return {
    isFresh: () => existsSync(file) && readFileSync(file, 'utf8') === current(),
    write: () => {
      mkdirSync(cacheDir, { recursive: true })
      writeFileSync(file, current())
    },
  }
}
