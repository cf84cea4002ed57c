/**
 * `npm run soak`: writes steadily with short lives for as long as is asked, and looks whether everything stays bounded.
 *
 *     npm run soak [-- --minutes 30] [-- --help]
 *
 * Arguments go to `scripts/soak/run.mjs`.
 */

import { runNode } from './lib/command.mjs'
import { ensureRedisServer } from './lib/redis.mjs'
import { runScript } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

await runScript(async () => {
  await ensureSetup()
  await ensureRedisServer()
  return runNode('scripts/soak/run.mjs', process.argv.slice(2))
})
