/** Compiles the TypeScript layer, `lib/` to `dist/`. */

import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { cacheDir, root, tool } from './paths.mjs'
import { contentHash, stamp } from './stamp.mjs'

/**
 * Needs the node modules and the generated typings of the addon.
 * @param {{ force?: boolean }} [options]
 * @returns {Promise<boolean>} whether anything had to be done
 */
export async function compileLayer({ force = false } = {}) {
  const state = stamp('layer', {
    inputs: contentHash([
      'lib',
      'tsconfig.json',
      'index.d.ts',
      'testing.d.ts',
      'compat.d.ts',
      'native.d.cts',
      'node_modules/typescript/package.json',
    ]),
    outputs: () => contentHash(['dist']),
  })
  if (!force && state.isFresh()) return false
  const fresh = join(cacheDir, 'dist')
  rmSync(fresh, { recursive: true, force: true })
  await run(process.execPath, [tool('tsc'), '--project', 'tsconfig.json', '--outDir', fresh], { quiet: true })
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  renameSync(fresh, join(root, 'dist'))
  state.write()
  return true
}
