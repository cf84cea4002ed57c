/** Flows of one step, run in memory under a clock that a test moves. */

import { randomUUID } from 'node:crypto'
import { afterEach } from 'vitest'
import type { FlowStep, QueueConfig, QueueCore, StepHandler, UntypedRecord, WorkerOptions } from '../../index.js'
import { createTestRuntime, type VirtualClock } from '../../testing.js'

const opened: Array<() => Promise<void>> = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((close) => close()))
})

/** A core with its clock; closed after the test. */
export class Home {
  private constructor(
    readonly core: QueueCore,
    readonly clock: VirtualClock,
  ) {}

  static async open(config: Omit<QueueConfig, 'eventStore' | 'clock'> = {}): Promise<Home> {
    const { core, clock } = await createTestRuntime(config)
    opened.push(() => core.close())
    return new Home(core, clock)
  }

  /** Starts a flow whose entry `step` does this, and gives the run once everything stands still. */
  async run(handler: StepHandler, options: { input?: unknown; step?: Partial<FlowStep>; worker?: WorkerOptions } = {}) {
    const name = `flow-${randomUUID()}`
    const step = { queue: name, ...options.step }
    this.core.flows.define({ name, entry: { step: 'step', queue: name }, steps: { step } })
    const worker = await this.core.worker(name, { step: handler }, options.worker)
    const { runId } = await this.core.flows.start(name, options.input)
    await this.clock.settle()
    return Object.assign(new Run(this, runId), { worker, queue: name })
  }
}

/** A run. */
export class Run {
  constructor(
    readonly home: Home,
    readonly runId: string,
  ) {}

  get stream(): string {
    return `nq:flow:${this.runId}`
  }

  async status() {
    const status = await this.home.core.flows.status(this.runId)
    if (!status) throw new Error(`there is no run ${this.runId}`)
    return status
  }

  /** What its step returned; fails unless the run completed. */
  async result(): Promise<unknown> {
    const status = await this.status()
    if (status.status !== 'completed') throw new Error(`the run is ${JSON.stringify(status)}`)
    return (await this.events('flow.completed'))[0]?.result
  }

  /** Why the run failed. */
  async error(): Promise<string> {
    const [failed] = await this.events('flow.failed')
    return String(failed?.error ?? `it has not failed: ${JSON.stringify(await this.status())}`)
  }

  /** The data of its events of these types, or families of types. */
  async events(...types: string[]): Promise<Array<Record<string, unknown>>> {
    return (await this.records(...types)).map(({ data }) => data as Record<string, unknown>)
  }

  async records(...types: string[]): Promise<UntypedRecord[]> {
    return await this.home.core.store.query({ stream: this.stream, ...(types.length > 0 && { types }) })
  }

  /** The types of its events, in order. */
  async types(...types: string[]): Promise<string[]> {
    return (await this.records(...types)).map(({ type }) => type)
  }

  /** The id of the only await that is open. */
  async awaitId(): Promise<string> {
    const awaits = await this.home.core.triggers.awaits(this.runId)
    if (awaits.length !== 1) throw new Error(`there are ${awaits.length} open awaits`)
    return awaits[0]?.awaitId as string
  }

  /** Answers the only await that is open. */
  async answer(data?: unknown): Promise<boolean> {
    const resolved = await this.home.core.triggers.resolveAwait(this.runId, await this.awaitId(), data)
    await this.home.clock.settle()
    return resolved
  }
}
