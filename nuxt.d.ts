/**
 * The Nuxt module: handlers below `server/queues`, and the queue in all of the server's code.
 *
 * @example
 * ```ts
 * // nuxt.config.ts
 * export default defineNuxtConfig({
 *   modules: ['nuxt-queue-core/nuxt'],
 *   queue: { eventStore: { adapter: 'redis' }, queues: { gpu: { concurrency: 2 } } },
 * })
 * ```
 *
 * @packageDocumentation
 */

import type { QueueConfig } from './index.js'

/**
 * The config key `queue`. What {@link QueueConfig} has is for the core; what holds functions (`triggers.resolveSecret`, a
 * logger as `logging.external.adapter`) is set on the server, in the hook `queue:config` of a Nitro plugin.
 *
 * The environment of a server that is built may set `NUXT_QUEUE_EVENT_STORE_ADAPTER`, `NUXT_QUEUE_EVENT_STORE_PREFIX`,
 * `NUXT_QUEUE_EVENT_STORE_REDIS_URL`, `NUXT_QUEUE_TRIGGERS_BASE_URL`, `NUXT_QUEUE_TRIGGERS_SECRET`, `NUXT_QUEUE_WORKERS`,
 * `NUXT_QUEUE_REGISTRY_VERSION`, `NUXT_QUEUE_REGISTRY_INSTANCE_ID`, `NUXT_QUEUE_JOBS_PREFIX`,
 * `NUXT_QUEUE_LOGGING_ROUTING`, `NUXT_QUEUE_LOGGING_LEVEL`, and whatever else is set here.
 */
export interface QueueModuleOptions extends Omit<QueueConfig, 'clock' | 'registry'> {
  /** This process among others. `mode` is accepted: it is always `'event-based'`. */
  registry?: QueueConfig['registry'] & { mode?: 'event-based' }
  /**
   * Queues by name, and how many of their steps run at the same time in each server. A folder of `server/queues` is a queue
   * that need not be named.
   */
  queues?: Record<string, { concurrency?: number }>
  /**
   * Whether there are routes to look at runs, triggers and instances and to act on them: `/api/_flows/**`,
   * `/api/_triggers/**`, `/api/_registry`. Outside `nuxt dev` they let in whom the hook `queue:authorize` lets in. Default `true`.
   */
  routes?: boolean
  /** What the paths of webhooks begin with. Default `'/webhooks'`. */
  webhooks?: string
  /** Whether this server runs steps. Default `true`; with `false` it only starts runs and answers. */
  workers?: boolean
}

/** The module, for `modules` of `nuxt.config.ts`. */
declare const nuxtQueue: {
  // biome-ignore lint/suspicious/noExplicitAny: Nuxt's own types are not needed to read this
  (this: void, options: QueueModuleOptions, nuxt: any): Promise<void>
  getMeta(): Promise<{ name: string; configKey: string; compatibility: { nuxt: string } }>
  getOptions(inline?: Partial<QueueModuleOptions>): Promise<QueueModuleOptions>
}
export default nuxtQueue
