// Everything that is measured, behind one small interface, so that the same workload drives all of it.
//
//   append(stream, event)        query(stream) → records       queryText(stream) → JSON text
//   subscribe(stream, handler)   → a function that ends it     deleteStream(stream)
//   run(runId) → { get, set, getAll, at } of its state         stats() → counters        close()
//
// A subject has those of them that its benchmarks use.

import { BaselineMemoryStore } from './baseline/memory-store.mjs'
import { PipelinedRedisStore } from './baseline/pipelined-store.mjs'
import { BaselineRedisState } from './baseline/redis-state.mjs'
import { BaselineRedisStore } from './baseline/redis-store.mjs'
import { reduceByHand } from './baseline/reduce.mjs'
import { RawWriter } from './raw-writer.mjs'

const ORIGINAL = 'the original way'
export const CORE = 'nuxt-queue-core'

export function originalOnMemory() {
  return { name: ORIGINAL, open: async () => new BaselineMemoryStore() }
}

export function originalOnRedis(port) {
  return { name: ORIGINAL, open: async () => new BaselineRedisStore(port) }
}

export function originalStateOnRedis(port) {
  return { name: ORIGINAL, open: async () => new BaselineRedisState(port) }
}

export function pipelinedOnRedis(port) {
  return { name: 'ioredis, XADD only, auto-pipelining', open: async () => new PipelinedRedisStore(port) }
}

/** Writes commands that were encoded beforehand; see `raw-writer.mjs`. */
export function rawOnRedis(port) {
  return { name: 'raw socket, encoded beforehand', open: () => RawWriter.open(port) }
}

/** Events are the state, as in the core, but read and folded with plain means. */
export function foldedOnRedis(port) {
  return { name: 'ioredis, XRANGE, folded by hand', open: async () => foldedState(new BaselineRedisStore(port)) }
}

export function loopByHand() {
  return { name: 'a plain loop', open: async () => ({ reduce: reduceByHand, close: async () => {} }) }
}

export function coreReducer() {
  return { name: CORE, core: true, open: openReducer }
}

export function coreOnMemory() {
  return { name: CORE, core: true, open: () => openCore({ adapter: 'memory' }) }
}

export function coreOnRedis(port) {
  return { name: CORE, core: true, open: () => openCoreOnRedis(port) }
}

/**
 * @param {number} port
 * @param {object} [options] of the store, beside where it is
 */
export function openCoreOnRedis(port, options) {
  return openCore({ adapter: 'redis', redis: { host: '127.0.0.1', port }, ...options })
}

function foldedState(store) {
  return {
    run: (runId) => ({
      set: (key, value) => store.append(`nq:flow:${runId}`, { type: 'state.set', runId, data: { key, value } }),
      getAll: async () => reduceByHand(await store.query(`nq:flow:${runId}`)),
    }),
    close: () => store.close(),
  }
}

async function openReducer() {
  const { reduceState } = await import('../index.js')
  return { reduce: reduceState, close: async () => {} }
}

async function openCore(options) {
  const { EventStore } = await import('../index.js')
  const store = await EventStore.open(options)
  return {
    append: (stream, event) => store.append(stream, event),
    query: (stream) => store.query({ stream }),
    queryText: (stream) => store.queryText({ stream }),
    subscribe: (stream, handler) => subscribeToCore(store, stream, handler),
    deleteStream: (stream) => store.deleteStream(stream),
    run: (runId) => store.state(runId),
    stats: () => store.stats(),
    close: () => store.close(),
  }
}

async function subscribeToCore(store, stream, handler) {
  const subscription = await store.subscribe(stream, handler)
  return () => subscription.unsubscribe()
}
