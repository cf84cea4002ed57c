export { EventStore, NuxtQueueError, onDiagnostic, RunLogger, RunState, reduceRun, reduceState } from './dist/index.js'
