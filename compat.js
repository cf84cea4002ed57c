export {
  createEventStoreAdapter,
  createEventStoreFactory,
  createRunLogger,
  createStateProvider,
  createWorkerContext,
} from './dist/compat.js'
