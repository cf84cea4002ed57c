// A redis-server of the benchmark's own: free port, nothing persisted, ended with the run.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

const START_LIMIT_MS = 10_000

/**
 * @returns {Promise<{ port: number, version: string, inspector: Redis, stop(): Promise<void> }>}
 *   `inspector` is a connection for preparation and checks, outside what is timed
 */
export async function startRedis() {
  const dir = mkdtempSync(join(tmpdir(), 'nuxt-queue-bench-'))
  const port = await freePort()
  const child = await launch(port, dir)
  process.once('exit', abandon)

  function abandon() {
    child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  }

  async function stop() {
    process.off('exit', abandon)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    rmSync(dir, { recursive: true, force: true })
  }

  try {
    const inspector = await connect(port, child, dir)
    const version = /redis_version:(\S+)/.exec(await inspector.info('server'))[1]
    return {
      port,
      version,
      inspector,
      stop: async () => {
        inspector.disconnect()
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function launch(port, dir) {
  const binary = process.env.REDIS_SERVER || 'redis-server'
  const log = openSync(join(dir, 'log'), 'w')
  const settings = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]
  const child = spawn(binary, ['--port', String(port), ...settings], { stdio: ['ignore', log, log] })
  closeSync(log)
  try {
    await once(child, 'spawn')
  } catch (cause) {
    rmSync(dir, { recursive: true, force: true })
    throw new Error(`cannot start ${binary}: install redis-server, or name one in REDIS_SERVER`, { cause })
  }
  return child
}

async function connect(port, child, dir) {
  const deadline = Date.now() + START_LIMIT_MS
  const inspector = new Redis(port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null })
  inspector.on('error', () => {}) // refused until the server listens; the loop below is the judge
  while (inspector.status !== 'ready') {
    if (child.exitCode !== null || Date.now() > deadline) {
      inspector.disconnect()
      throw new Error(`redis-server did not come up on port ${port}:\n${readFileSync(join(dir, 'log'), 'utf8')}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return inspector
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
