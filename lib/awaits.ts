/**
 * The awaits of a step: each is opened in the record, judged here if it has a filter or a schema, and waited for.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Point, Time } from '../index.js'
import { toDuration } from './duration.js'
import { NuxtQueueError } from './errors.js'
import { type AwaitKind, type AwaitState, Json, type Request } from './native-flows.js'
import { invalid } from './query.js'
import { checkSchema, validate } from './schema.js'
import type { StepExecution, Waiter } from './step-execution.js'
import { toMs, toPoint } from './time.js'

/** The pause before a state is read again that could not be read, in real time. */
const READ_AGAIN_MS = 1000

/** The last millisecond of the year 9999: ISO 8601 knows no later one. */
const LAST_INSTANT = 253_402_300_799_999

/** What a step waits for. */
export interface AwaitSpec {
  kind: AwaitKind
  name: string
  /** Milliseconds since the Unix epoch. */
  deadlineMs?: number
  timeoutMs?: number
  data?: Json
  filter?: (payload: unknown) => unknown
  schema?: unknown
  since?: Point
  onTimeout?: 'throw' | 'resume'
}

/** Options that several kinds of await have in common, checked. */
export function readOptions(options: {
  timeout?: number | string
  data?: unknown
  filter?: unknown
  schema?: unknown
  since?: Point
  onTimeout?: unknown
}): Omit<AwaitSpec, 'kind' | 'name'> {
  const { timeout, data, filter, schema, since, onTimeout } = options
  if (filter !== undefined && typeof filter !== 'function') throw invalid('filter', filter, 'a function')
  if (schema !== undefined) checkSchema(schema, 'schema')
  if (onTimeout !== undefined && onTimeout !== 'throw' && onTimeout !== 'resume') {
    throw invalid('onTimeout', onTimeout, "'throw' or 'resume'")
  }
  if (since !== undefined) toPoint(since, 'since')
  return {
    timeoutMs: timeout === undefined ? undefined : toTimeout(timeout, 'timeout'),
    data: Json.of(data, 'data'),
    filter: filter as AwaitSpec['filter'],
    schema,
    since,
    onTimeout,
  }
}

/** How long an await may wait; longer than time goes on counts as that. */
export function toTimeout(value: number | string, name: string): number {
  return Math.min(toDuration(value, name), LAST_INSTANT)
}

/** The instant of a deadline; one before 1970 has passed as well. */
export function toDeadline(value: Time, name: string): number {
  return Math.min(Math.max(Math.ceil(toMs(value, name)), 0), LAST_INSTANT)
}

/** The awaits of an execution. An await is known by its name and its place: both have to be the same in each execution. */
export class Awaits {
  readonly #execution: StepExecution
  readonly #ordinals = new Map<string, number>()
  #opened = 0

  constructor(execution: StepExecution) {
    this.#execution = execution
  }

  /** The id of the next await of this name. */
  nextId(name: string): string {
    return this.#idOf(name, (this.#ordinals.get(name) ?? 0) + 1)
  }

  /** Waits. In an execution that is given up meanwhile it never settles. */
  async open(spec: AwaitSpec): Promise<unknown> {
    this.#checkRunning(spec.name)
    // Counted within the call, so that awaits that are begun side by side have the order of the code.
    const ordinal = (this.#ordinals.get(spec.name) ?? 0) + 1
    const index = this.#opened++
    this.#ordinals.set(spec.name, ordinal)
    const waiter = this.#execution.addWaiter(this.#idOf(spec.name, ordinal))
    try {
      return await this.#execution.act(() => this.#open(spec, ordinal, index, waiter))
    } catch (error) {
      if (this.#execution.isSuspended) return await new Promise(() => {})
      throw error
    } finally {
      this.#execution.deleteWaiter(waiter)
    }
  }

  async #open(spec: AwaitSpec, ordinal: number, index: number, waiter: Waiter): Promise<unknown> {
    const { begun, engine } = this.#execution.place
    let state = await this.#call('openAwait', {
      ...{ ...this.#execution.id, name: spec.name, ordinal, index, kind: spec.kind },
      ...{ deadlineMs: spec.deadlineMs, timeoutMs: spec.timeoutMs },
      data: spec.data,
      conditional: spec.filter !== undefined || spec.schema !== undefined || undefined,
      since: spec.since === undefined ? undefined : toPoint(spec.since, 'since'),
    })
    const isNew = !begun.awaits.some(({ awaitId }) => awaitId === state.awaitId)
    if (isNew) this.#execution.span?.awaiting(spec.kind)
    if (state.deadline !== undefined) engine.deadlines.expect(Date.parse(state.deadline))
    while (state.state === 'open') {
      const [offer] = state.offers
      if (offer !== undefined) {
        state = await this.#judge(spec, waiter.awaitId, offer)
      } else {
        await this.#execution.wait(waiter)
        state = await this.#look(waiter)
      }
    }
    return await this.#close(spec, state, waiter)
  }

  /** What was settled, once the record says that the step goes on. */
  async #close(spec: AwaitSpec, settled: AwaitState, waiter: Waiter): Promise<unknown> {
    const { state, awaitId, resumed, data, reason, deadline } = settled
    await this.#execution.turn(waiter)
    if (!resumed) {
      await this.#call('resumeAwait', { ...this.#execution.id, awaitId })
      this.#execution.span?.awaited(spec.kind, state)
    }
    await this.#execution.goOn(waiter)
    if (state === 'fired') return data
    const which = `The await ${awaitId} of run ${this.#execution.runId}`
    if (state === 'canceled') {
      throw new NuxtQueueError('NQ_CANCELED', `${which} came to nothing: ${reason ?? 'it was canceled'}.`)
    }
    if (spec.onTimeout === 'resume') return undefined
    const until = deadline === undefined ? '' : ` (${deadline})`
    throw new NuxtQueueError('NQ_TIMEOUT', `${which} had no answer by its deadline${until}.`)
  }

  async #judge(spec: AwaitSpec, awaitId: string, offer: AwaitState['offers'][number]): Promise<AwaitState> {
    const verdict = await judge(spec, offer.data)
    const which = { runId: this.#execution.runId, awaitId, offerId: offer.offerId }
    if ('reason' in verdict) return await this.#call('rejectOffer', { ...which, reason: verdict.reason })
    return await this.#call('acceptOffer', { ...which, data: Json.of(verdict.value, 'The output of the schema') })
  }

  /** Reads how it stands. Whoever waits for days is not to fail because the store is away for a moment. */
  async #look({ awaitId }: Waiter): Promise<AwaitState> {
    for (;;) {
      try {
        return await this.#call('awaitState', { runId: this.#execution.runId, awaitId })
      } catch (error) {
        if (!isPassing(error) || this.#execution.signal.aborted) throw error
        await pause(READ_AGAIN_MS, undefined, { ref: false })
      }
    }
  }

  async #call<N extends 'openAwait' | 'awaitState' | 'acceptOffer' | 'rejectOffer' | 'resumeAwait'>(
    name: N,
    request: Request<N>,
  ): Promise<AwaitState> {
    try {
      return await this.#execution.place.engine.call(name, request)
    } catch (error) {
      // Whatever the handler makes of it: it would go on with an answer that is not meant for it.
      if (error instanceof NuxtQueueError && error.code === 'NQ_NONDETERMINISTIC') this.#execution.fatal = error
      throw error
    }
  }

  #checkRunning(name: string): void {
    if (this.#execution.isRunning || this.#execution.isSuspended) return
    const { runId, stepName } = this.#execution.id
    const message = `Step ${stepName} of run ${runId} has ended: the await ${name} comes too late. Await it in the handler.`
    throw new NuxtQueueError('NQ_CONFLICT', message)
  }

  #idOf(name: string, ordinal: number): string {
    return `${this.#execution.id.stepName}/${name}/${ordinal}`
  }
}

async function judge(
  { filter, schema }: AwaitSpec,
  payload: unknown,
): Promise<{ value: unknown } | { reason: string }> {
  if (filter !== undefined && !(await filter(payload))) return { reason: 'filter' }
  if (schema === undefined) return { value: payload }
  const outcome = await validate(schema, payload)
  return 'issues' in outcome ? { reason: outcome.issues.join('; ') } : outcome
}

function isPassing(error: unknown): boolean {
  return error instanceof NuxtQueueError && (error.code === 'NQ_UNAVAILABLE' || error.code === 'NQ_TIMEOUT')
}
