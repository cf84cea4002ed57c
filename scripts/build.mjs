/**
 * `npm run build`: everything that a clone needs to be used.
 *
 *     npm run build [-- --force] [-- --target aarch64-apple-darwin]
 */

import { parseArgs } from 'node:util'
import { runScript } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

await runScript(async () => {
  const { values } = parseArgs({ options: { force: { type: 'boolean' }, target: { type: 'string' } } })
  await ensureSetup(values)
})
