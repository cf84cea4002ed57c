/**
 * For tests: a clock that moves when it is told to.
 */

export { onSettle, VirtualClock } from './virtual-clock.js'
