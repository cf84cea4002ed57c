/**
 * A core in memory, under a clock that a test moves.
 */

import type { QueueCore } from '../index.js'
import type { TestRuntime, TestRuntimeOptions } from '../testing.js'
import { open } from './open.js'
import { VirtualClock } from './virtual-clock.js'

/** Where the clock begins if the test does not care: the same each time. */
const START = '2025-01-01T00:00:00Z'

/** Opens one; documented in `testing.d.ts`. */
export async function createTestRuntime(options: TestRuntimeOptions = {}): Promise<TestRuntime> {
  const { start = START, clock = new VirtualClock(start), eventStore, ...config } = options
  const core = (await open({ ...config, eventStore: { ...eventStore, adapter: 'memory' }, clock })) as QueueCore
  const close = () => core.close()
  return { core, clock: clock as TestRuntime['clock'], close, [Symbol.asyncDispose]: close }
}
