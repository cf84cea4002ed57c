/**
 * The state of a run, as the store folds it.
 */

import type { ReadOptions } from '../../index.js'
import type { RunState } from '../run-state.js'
import type { EventValues } from './event-state.js'

export class RunValues implements EventValues {
  readonly #state: RunState

  constructor(state: RunState) {
    this.#state = state
  }

  get(name: string, options?: ReadOptions): Promise<unknown> {
    return this.#state.get(name, options)
  }

  list(prefix: string): Promise<string[]> {
    return this.#state.list(prefix)
  }

  async knows(name: string): Promise<boolean> {
    return (await this.#state.history(name)).length > 0
  }
}
