/** The queue of a Nuxt server, without Nuxt. */

import { afterEach, vi } from 'vitest'
import type { QueueConfig, QueueCore } from '../../index.js'
import { startQueue, useQueueCore } from '../../nuxt-server.js'

const closing: Array<() => unknown> = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface ServerOptions {
  config?: object
  queues?: Record<string, { concurrency?: number }>
  /** A listener of `queue:config`. */
  configure?: (config: QueueConfig) => void
}

/** Starts that of a server for developers, which goes on when something is wrong. */
export async function startServer(
  handlers: Record<string, object> = {},
  { config = {}, queues = {}, configure }: ServerOptions = {},
): Promise<QueueCore> {
  const modules = Object.entries(handlers).map(([name, module]) => ({ name, module }))
  const hook = (name: string, handler: () => unknown) => name === 'close' && void closing.push(handler)
  const callHook = async (name: string, given: QueueConfig) => name === 'queue:config' && configure?.(given)
  // What is wrong stands on stderr, too.
  const quiet = vi.spyOn(console, 'error').mockImplementation(() => {})
  startQueue({ hooks: { hook, callHook } }, { ...config }, modules, { queues, isDev: true })
  return await useQueueCore().finally(() => quiet.mockRestore())
}
