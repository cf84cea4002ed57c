import type * as surface from '../index.js'
import type { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import { readFlow } from './flow-definition.js'
import { Json } from './native-flows.js'
import { checkLimit, checkName, checkOptions, invalid } from './query.js'
import { validate } from './schema.js'

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
    checkName(flowName, 'flowName')
    const { runId, triggeredBy, version } = checkOptions(options, ['runId', 'triggeredBy', 'version'])
    if (runId !== undefined) checkName(runId, 'runId')
    if (triggeredBy !== undefined) checkName(triggeredBy, 'triggeredBy')
    if (version !== undefined) checkName(version, 'version')
    const packed = Json.of(input, 'input')
    await this.#checkInput(flowName, input)
    const started = await this.#engine.callOwing('start', {
      flow: flowName,
      runId,
      input: packed,
      triggeredBy,
      version,
    })
    await this.#engine.handOver([started.runId], started.jobs)
    return { runId: started.runId }
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
    if (isCanceled) this.#engine.executions.end(runId, reason === undefined ? 'canceled' : `canceled (${reason})`)
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

  /** What the schema makes of it is made again where the step runs: only JSON goes there. */
  async #checkInput(flowName: string, input: unknown): Promise<void> {
    const schema = this.#engine.schemas.get(flowName)?.entry
    if (schema === undefined) return
    const outcome = await validate(schema, input)
    if ('value' in outcome) return
    const message = `The input of flow ${flowName} does not fit its schema: ${outcome.issues.join('; ')}`
    throw new NuxtQueueError('NQ_VALIDATION', message)
  }
}
