/** Where things are. */

import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** What the scripts remember between runs; may be deleted at any time. */
export const cacheDir = join(root, '.cache')

/**
 * The JavaScript file behind an installed command, to be run with `process.execPath`: works the same on every system.
 * @param {'tsc' | 'biome' | 'vitest'} name
 */
export function tool(name) {
  const files = {
    tsc: 'typescript/bin/tsc',
    biome: '@biomejs/biome/bin/biome',
    vitest: 'vitest/vitest.mjs',
  }
  return join(root, 'node_modules', files[name])
}
