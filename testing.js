export { VirtualClock } from './dist/testing.js'
