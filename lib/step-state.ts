/**
 * The state of a run as a step sees it.
 */

import type * as surface from '../index.js'
import { toJson } from './json.js'
import type { StepExecution } from './step-execution.js'

type Values = Record<string, unknown>

/**
 * Like the state of the run, with two differences: every call is a sign of life of the step, and what an execution
 * writes again that an earlier one wrote already leaves no second event.
 */
export class StepState implements Pick<surface.RunState, keyof surface.RunState> {
  readonly #state: Pick<surface.RunState, keyof surface.RunState>
  readonly #execution: StepExecution
  /** In a rerun, where writes look first, each waits for the one before. */
  #lastWrite: Promise<void> = Promise.resolve()

  constructor(state: Pick<surface.RunState, keyof surface.RunState>, execution: StepExecution) {
    this.#state = state
    this.#execution = execution
  }

  get(key: string, options?: surface.ReadOptions): Promise<unknown> {
    return this.#execution.act(() => this.#state.get(key, options))
  }

  getAll(options?: surface.ReadOptions): Promise<Values> {
    return this.#execution.act(() => this.#state.getAll(options))
  }

  has(key: string, options?: surface.ReadOptions): Promise<boolean> {
    return this.#execution.act(() => this.#state.has(key, options))
  }

  set(key: string, value: unknown, options?: { ttl?: number }): Promise<void> {
    const write = () => this.#state.set(key, value, options)
    return this.#write(write, async () => options?.ttl === undefined && (await this.#isWritten([[key, value]])))
  }

  delete(key: string): Promise<void> {
    return this.#write(
      () => this.#state.delete(key),
      async () => !(await this.#state.has(key)),
    )
  }

  setBatch(values: Values): Promise<void> {
    const write = () => this.#state.setBatch(values)
    // What is malformed is refused by the write.
    const entries = typeof values === 'object' && values !== null ? Object.entries(values) : []
    return this.#write(write, async () => entries.length > 0 && (await this.#isWritten(entries)))
  }

  // biome-ignore lint/suspicious/noExplicitAny: index.d.ts types the value
  patch(key: string, update: (previous: any) => unknown): Promise<any> {
    return this.#execution.act(() => this.#state.patch(key, update))
  }

  list(prefix?: string, options?: surface.ReadOptions): Promise<string[]> {
    return this.#execution.act(() => this.#state.list(prefix, options))
  }

  at(point: surface.Point): Promise<Values> {
    return this.#execution.act(() => this.#state.at(point))
  }

  history(key?: string): Promise<surface.HistoryEntry[]> {
    return this.#execution.act(() => this.#state.history(key))
  }

  diff(a: surface.Point, b: surface.Point): Promise<surface.StateDiff> {
    return this.#execution.act(() => this.#state.diff(a, b))
  }

  snapshot(): Promise<surface.EventRecord<'state.snapshot'>> {
    return this.#execution.act(() => this.#state.snapshot())
  }

  #write(write: () => Promise<void>, isDone: () => Promise<boolean>): Promise<void> {
    // In a first execution nothing is asked before: writes have the order of the calls, between those to the log, too.
    if (!this.#execution.place.begun.rerun) return this.#execution.act(write)
    return this.#execution.act(() => {
      const before = this.#lastWrite
      const written = (async () => {
        await before
        if (!(await isDone())) await write()
      })()
      this.#lastWrite = written.catch(() => {})
      return written
    })
  }

  async #isWritten(entries: ReadonlyArray<[string, unknown]>): Promise<boolean> {
    for (const [key, value] of entries) {
      if (value === undefined) continue
      const present = await this.#state.get(key)
      if (present === undefined || JSON.stringify(present) !== toJson(value, 'value')) return false
    }
    return true
  }
}
