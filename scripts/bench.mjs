/** `npm run bench`: the benchmarks against the in-repo baseline. Arguments go to `benches/run.mjs`. */

import { runNode } from './lib/command.mjs'
import { ensureRedisServer } from './lib/redis.mjs'
import { runScript } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

await runScript(async () => {
  await ensureSetup()
  await ensureRedisServer()
  return runNode('benches/run.mjs', process.argv.slice(2))
})
