/**
 * Which store a command works on.
 */

import type { StoreOptions } from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import type { Options, Values } from './command.js'
import type { Terminal } from './terminal.js'

/** Options of commands that work on Redis. */
export const REDIS_OPTIONS: Options = {
  redis: { type: 'string', value: 'URL', help: 'the server; default: the environment variable REDIS_URL' },
  prefix: { type: 'string', value: 'TEXT', help: 'what keys begin with; default: nq' },
}

/** The store that the options name. */
export function redisOptions({ redis, prefix }: Values, { env }: Terminal): StoreOptions {
  const url = (redis as string | undefined) || env.REDIS_URL
  if (!url)
    throw new NuxtQueueError('NQ_CONFIG', 'Say which Redis: --redis URL, or the environment variable REDIS_URL.')
  return { adapter: 'redis', redis: { url }, ...(prefix !== undefined && { prefix: prefix as string }) }
}
