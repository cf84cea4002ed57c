export { exportRun, replay, VirtualClock } from './dist/testing.js'
