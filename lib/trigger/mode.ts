import type { SubscriptionMode } from '../../index.js'
import { invalid } from '../query.js'

/** How a subscription's mode is recorded. */
export function modeName(mode: SubscriptionMode = 'auto'): 'auto' | 'manual' | 'function' {
  if (typeof mode === 'function') return 'function'
  if (mode !== 'auto' && mode !== 'manual') throw invalid('mode', mode, "'auto', 'manual' or a function")
  return mode
}
