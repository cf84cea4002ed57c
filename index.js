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
  toH3Handler,
  toNodeHandler,
} from './dist/index.js'
