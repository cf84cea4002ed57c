export { EventStore, NuxtQueueError, RunState, reduceRun, reduceState } from './dist/index.js'
