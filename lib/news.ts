/**
 * Follows what all instances tell each other: awaits that were answered, runs that ended, new deadlines.
 */

import type { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import { warn } from './warn.js'

/** The pause after a failure, in real time. */
const RETRY_MS = 1000

/** Follows the news until the store is closed. */
export async function followNews(engine: Engine): Promise<void> {
  let failed = false
  let isLoaded = false
  while (!engine.isClosed) {
    try {
      const news = await engine.flows.call('follow', {}, true)
      if (news === null) return
      failed = false
      if (!isLoaded) engine.registrations.loaded()
      isLoaded = true
      for (const { runId, awaitId } of news.wake) engine.executions.wake(runId, awaitId)
      for (const runId of news.ended) engine.executions.end(runId)
      engine.deadlines.expect(news.next)
    } catch (error) {
      if (engine.isClosed || (error instanceof NuxtQueueError && error.code === 'NQ_CLOSED')) return
      // Once per outage: it may last.
      if (!failed) warn('News of other instances could not be read; this is tried again', error, 'NQ_NEWS')
      failed = true
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
    }
  }
}
