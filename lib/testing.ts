/**
 * For tests: a clock that moves when it is told to, a core under it, and runs as fixtures.
 */

export { exportRun, replay } from './replay.js'
export { createTestRuntime } from './test-runtime.js'
export { onSettle, VirtualClock } from './virtual-clock.js'
