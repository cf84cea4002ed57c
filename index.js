export {
  EventStore,
  FlowEngine,
  NuxtQueueError,
  onDiagnostic,
  open,
  RunLogger,
  RunState,
  reduceRun,
  reduceState,
  TriggerEngine,
} from './dist/index.js'
