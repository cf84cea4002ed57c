/**
 * For tests: a clock that moves when it is told to, and runs as fixtures.
 */

export { exportRun, replay } from './replay.js'
export { onSettle, VirtualClock } from './virtual-clock.js'
