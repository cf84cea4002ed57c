import type * as surface from '../index.js'
import { answer } from './await-webhook.js'
import type { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import { type Answer, Json, type Request } from './native-flows.js'
import { checkName, checkOptions } from './query.js'

/** The trigger engine; documented in `index.d.ts`. */
export class TriggerEngine implements Pick<surface.TriggerEngine, keyof surface.TriggerEngine> {
  readonly #engine: Engine
  readonly #secret: () => string | Uint8Array

  private constructor(engine: Engine, secret: () => string | Uint8Array) {
    this.#engine = engine
    this.#secret = secret
  }

  static of(engine: Engine, secret: () => string | Uint8Array): TriggerEngine {
    return new TriggerEngine(engine, secret)
  }

  async emit(name: string, payload?: unknown, options: { idempotencyKey?: string } = {}): Promise<surface.Firing> {
    checkName(name, 'name')
    const { idempotencyKey } = checkOptions(options, ['idempotencyKey'])
    if (idempotencyKey !== undefined) checkName(idempotencyKey, 'idempotencyKey')
    const request = { name, payload: Json.of(payload, 'payload'), idempotencyKey }
    const { fireId, timestamp, jobs, runIds, refused } = await this.#fire(request)
    for (const runId of runIds) this.#engine.executions.wake(runId)
    await this.#engine.handOver(runIds, jobs)
    if (refused !== undefined) throw new NuxtQueueError('NQ_TOO_LARGE', refused)
    return {
      ...{ fireId, triggerName: name, status: 'processed', timestamp },
      ...(payload !== undefined && { data: payload }),
      ...{ runs: [], resumed: [...new Set(runIds)] },
    }
  }

  async #fire(request: Request<'fire'>): Promise<Answer<'fire'>> {
    try {
      return await this.#engine.call('fire', request)
    } catch (error) {
      // It may be recorded, and not be worked off.
      this.#engine.sweeper.expect()
      throw error
    }
  }

  async awaits(runId: string): Promise<surface.RunStatus['awaits']> {
    return await this.#engine.call('awaits', { runId: checkName(runId, 'runId') })
  }

  async resolveAwait(runId: string, awaitId: string, data?: unknown): Promise<boolean> {
    const request = { ...check(runId, awaitId), data: Json.of(data, 'data') }
    const { resolved, jobs } = await this.#engine.callOwing('resolveAwait', request)
    await this.#wake(request, jobs)
    return resolved
  }

  async cancelAwait(runId: string, awaitId: string, reason?: string): Promise<boolean> {
    if (reason !== undefined) checkName(reason, 'reason')
    const request = { ...check(runId, awaitId), reason }
    const { canceled, jobs } = await this.#engine.callOwing('cancelAwait', request)
    await this.#wake(request, jobs)
    return canceled
  }

  async handleWebhook(request: surface.WebhookRequest): Promise<surface.WebhookResponse> {
    return await answer(this.#engine, this.#secret, request)
  }

  async #wake({ runId, awaitId }: { runId: string; awaitId: string }, jobs: surface.StepJob[]): Promise<void> {
    this.#engine.executions.wake(runId, awaitId)
    await this.#engine.handOverOrWarn([runId], jobs)
  }
}

function check(runId: string, awaitId: string): { runId: string; awaitId: string } {
  return { runId: checkName(runId, 'runId'), awaitId: checkName(awaitId, 'awaitId') }
}
