export { reduceState } from '../../reduce.js'
export {
  defineQueueConfig,
  defineQueueWorker,
  emitTrigger,
  handleQueueRequest,
  registerTrigger,
  startQueue,
  useEventManager,
  useEventStore,
  useFlowEngine,
  useLogs,
  useQueueCore,
  useRegistry,
  useTriggers,
} from './use.js'
