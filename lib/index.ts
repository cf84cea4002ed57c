export { NuxtQueueError } from './errors.js'
export { EventStore } from './event-store.js'
export { reduceRun, reduceState } from './reduce.js'
export { RunState } from './run-state.js'
