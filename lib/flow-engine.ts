import type * as surface from '../index.js'
import type { Engine } from './engine.js'
import { readFlow } from './flow-definition.js'
import { startRun } from './flow-start.js'
import { Json } from './native-flows.js'
import { checkLimit, checkName, checkOptions, invalid } from './query.js'
import { merge, typesOf } from './timeline.js'

/** The flow engine; documented in `index.d.ts`. */
export class FlowEngine implements Pick<surface.FlowEngine, keyof surface.FlowEngine> {
  readonly #engine: Engine

  private constructor(engine: Engine) {
    this.#engine = engine
  }

  static of(engine: Engine): FlowEngine {
    return new FlowEngine(engine)
  }

  define(flow: surface.FlowDefinition, options: { replace?: boolean } = {}): void {
    const { replace = false } = checkOptions(options, ['replace'])
    if (typeof replace !== 'boolean') throw invalid('replace', replace, 'true or false')
    const { packed, schemas } = readFlow(flow)
    this.#engine.flows.define(packed, replace)
    this.#engine.schemas.set(flow.name, schemas)
    this.#engine.registrations.add(flow)
    this.#engine.offers.define(flow)
  }

  async start(flowName: string, input?: unknown, options: surface.StartOptions = {}): Promise<{ runId: string }> {
    return await startRun(this.#engine, flowName, input, options)
  }

  async emit(runId: string, name: string, payload?: unknown): Promise<surface.StepJob[]> {
    checkName(runId, 'runId')
    checkName(name, 'name')
    const { jobs } = await this.#engine.callOwing('emit', { runId, name, payload: Json.of(payload, 'payload') })
    this.#engine.executions.wake(runId)
    await this.#engine.handOver([runId], jobs)
    return jobs
  }

  async cancel(runId: string, reason?: string): Promise<boolean> {
    checkName(runId, 'runId')
    if (reason !== undefined) checkName(reason, 'reason')
    const isCanceled = await this.#engine.call('cancel', { runId, reason })
    if (isCanceled) {
      this.#engine.executions.end(runId, reason === undefined ? 'canceled' : `canceled (${reason})`)
      this.#engine.runEnded(runId)
    }
    return isCanceled
  }

  async status(runId: string): Promise<surface.RunStatus | undefined> {
    return (await this.#engine.call('status', { runId: checkName(runId, 'runId') })) ?? undefined
  }

  async runs(flowName: string, options: { limit?: number; offset?: number } = {}): Promise<surface.RunStatus[]> {
    checkName(flowName, 'flowName')
    const { offset } = checkOptions(options, ['limit', 'offset'])
    if (offset !== undefined && !(Number.isSafeInteger(offset) && offset >= 0)) {
      throw invalid('offset', offset, 'a whole number from 0 on')
    }
    return await this.#engine.call('runs', { flow: flowName, limit: checkLimit(options.limit), offset })
  }

  async explain(runId: string): Promise<string> {
    const text = await this.#engine.call('explain', { runId: checkName(runId, 'runId') })
    const lines = await this.#engine.availability.explain(runId)
    return [text, ...lines.map((line) => `! ${line}`)].join('\n')
  }

  // biome-ignore lint/suspicious/noExplicitAny: what a stream holds is for its reader to say
  async timeline(runId: string, options: surface.TimelineOptions = {}): Promise<any[]> {
    const types = typesOf(options)
    const stream = this.#engine.streamOf(checkName(runId, 'runId'))
    return await this.#engine.options.store.query({ stream, ...(types && { types }) })
  }

  async chain(correlationId: string): Promise<surface.RunStatus[]> {
    return await this.#engine.call('chain', { correlationId: checkName(correlationId, 'correlationId') })
  }

  // biome-ignore lint/suspicious/noExplicitAny: what a stream holds is for its reader to say
  trace(correlationId: string, options: surface.TimelineOptions = {}): AsyncGenerator<any, void, undefined> {
    const types = typesOf(options)
    checkName(correlationId, 'correlationId')
    return this.#trace(correlationId, types)
  }

  async *#trace(correlationId: string, types: string[] | undefined): AsyncGenerator<surface.UntypedRecord> {
    const engine = this.#engine
    const runs = await this.chain(correlationId)
    const streams = runs.map(({ runId, startedAt }) => ({ startedAt, stream: engine.streamOf(runId) }))
    yield* merge(engine.options.store, streams, types)
  }
}
