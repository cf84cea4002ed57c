export { EventStore, NuxtQueueError, onDiagnostic, RunState, reduceRun, reduceState } from './dist/index.js'
