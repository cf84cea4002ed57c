/**
 * `npm run demo`: trains a small classifier as a flow run and shows its timeline. On the embedded memory backend, or
 * on Redis when `REDIS_URL` is set. Arguments go to the example.
 */

import { runNode } from './lib/command.mjs'
import { runScript } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

await runScript(async () => {
  await ensureSetup()
  return runNode('examples/iris/run.mjs', process.argv.slice(2))
})
