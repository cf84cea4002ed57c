/**
 * What the original nuxt-queue module calls in its own code, in the same shapes, over an event store.
 */

export { createEventStoreAdapter } from './compat/adapter.js'
export { createEventStoreFactory } from './compat/factory.js'
export { createRunLogger } from './compat/run-logger.js'
export { createStateProvider } from './compat/state-provider.js'
export { createWorkerContext } from './compat/worker-context.js'
