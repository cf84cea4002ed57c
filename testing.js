export { createTestRuntime, exportRun, replay, VirtualClock } from './dist/testing.js'
