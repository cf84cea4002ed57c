/**
 * `npm run demo`: trains a small classifier as one run of a flow and shows its timeline. On the embedded memory backend,
 * or on Redis when `REDIS_URL` is set.
 *
 *     npm run demo
 *     npm run demo -- --crash    kills the process that works on the run while it waits, and lets another go on
 *
 * A process that dies takes its memory with it, so `--crash` needs Redis: `REDIS_URL`, or a redis-server on the PATH,
 * which it starts for itself and stops.
 */

import { parseArgs } from 'node:util'
import { capture, runNode } from './lib/command.mjs'
import { RedisServer } from './lib/redis-server.mjs'
import { runScript, ScriptError } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

await runScript(async () => {
  const { values } = parseArgs({ options: { crash: { type: 'boolean' } } })
  if (!values.crash) {
    await ensureSetup()
    return runNode('examples/iris/run.mjs', [])
  }
  if (process.env.REDIS_URL === undefined && capture('redis-server', ['--version']) === undefined) {
    throw new ScriptError('--crash needs Redis: set REDIS_URL, or install redis-server so that it is on the PATH')
  }
  await ensureSetup()
  if (process.env.REDIS_URL !== undefined) return runNode('examples/iris/crash.mjs', [])
  const server = await RedisServer.start()
  process.env.REDIS_URL = server.url
  try {
    return await runNode('examples/iris/crash.mjs', [])
  } finally {
    await server.stop()
  }
})
