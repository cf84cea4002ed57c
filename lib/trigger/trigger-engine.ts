import type * as surface from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError, shown } from '../errors.js'
import { type Answer, Json, type Request } from '../native-flows.js'
import { checkLimit, checkName, checkObject, checkOptions, invalid } from '../query.js'
import { previewSchedule } from '../schedule.js'
import { codeNames, memberOf, type ReadTrigger, readTrigger } from './definition.js'
import { Ledger } from './ledger.js'
import { modeName } from './mode.js'
import { Registry } from './registry.js'
import type { LocalCode } from './trigger-code.js'
import { Webhooks } from './webhooks.js'

const STATUSES = ['fired', 'processed', 'failed', 'skipped']
const VERDICTS = ['accepted', 'repeated', 'refused', 'rejected']

/** A firing, and whether it had been before. */
export interface Fired {
  firing: surface.Firing
  repeated: boolean
  /** Why a run that waited for it could not take it. */
  refused?: string
}

/** What is fired, and how. */
export interface FireOptions {
  idempotencyKey?: string
  userId?: string
  /** What stands in the ledger of it. */
  delivery?: Json
  context?: surface.TriggerContext
}

/** The trigger engine; documented in `index.d.ts`. */
export class TriggerEngine implements Pick<surface.TriggerEngine, keyof surface.TriggerEngine> {
  readonly #engine: Engine
  readonly #registry: Registry
  readonly #webhooks: Webhooks
  /** By trigger: changes of a definition take turns, as each is made to what the one before left. */
  readonly #changes = new Map<string, Promise<unknown>>()

  private constructor(
    engine: Engine,
    secret: () => string | Uint8Array,
    resolveSecret: surface.TriggerConfig['resolveSecret'],
  ) {
    this.#engine = engine
    this.#registry = new Registry(engine)
    const fire = (name: string, payload: unknown, options: FireOptions) => this.#fire(name, payload, options)
    this.#webhooks = new Webhooks({ engine, registry: this.#registry, fire, secret, resolveSecret })
  }

  static of(
    engine: Engine,
    secret: () => string | Uint8Array,
    resolveSecret: surface.TriggerConfig['resolveSecret'],
  ): TriggerEngine {
    return new TriggerEngine(engine, secret, resolveSecret)
  }

  get #code(): LocalCode {
    return this.#engine.code
  }

  async register(definition: surface.TriggerDefinition): Promise<void> {
    const read = readTrigger(definition)
    await this.#inTurn(definition.name, () => this.#register(definition, read))
  }

  async #register(definition: surface.TriggerDefinition, { data, code, problems }: ReadTrigger): Promise<void> {
    problems.push(...this.#engine.flows.triggerProblems(data), ...(await this.#webhooks.secretProblems(data, code)))
    if (problems.length > 0) throw cannotWork(definition.name, problems)
    await this.#engine.call('registerTrigger', { definition: data })
    this.#code.set(definition.name, code)
    this.#expectDue()
  }

  async update(name: string, changes: Parameters<surface.TriggerEngine['update']>[1]): Promise<void> {
    const given = Object.entries(checkObject(changes, 'The changes')).filter(([, value]) => value !== undefined)
    await this.#inTurn(checkName(name, 'name'), () => this.#update(name, given))
  }

  async #inTurn(name: string, change: () => Promise<void>): Promise<void> {
    const turn = (this.#changes.get(name) ?? Promise.resolve()).then(change, change)
    this.#changes.set(name, turn)
    try {
      await turn
    } finally {
      if (this.#changes.get(name) === turn) this.#changes.delete(name)
    }
  }

  async #update(name: string, given: Array<[string, unknown]>): Promise<void> {
    await this.#engine.flows.refreshTriggers()
    const known = await this.#registry.find(name)
    const merged = new Map<string, unknown>([...Object.entries(this.#registry.restore(known)), ...given])
    const members = given.map(([member]) => member)
    const isGone = ([, value]: [string, unknown]) => value === null
    const definition = Object.fromEntries([...merged].filter((entry) => !isGone(entry)))
    const { data, code, problems } = readTrigger(definition as unknown as surface.TriggerDefinition)
    problems.push(...this.#engine.flows.triggerProblems(data))
    // Who only changes something else need not know the secret.
    if (members.includes('endpoint')) problems.push(...(await this.#webhooks.secretProblems(data, code)))
    if (problems.length > 0) throw cannotWork(name, problems)
    // Code that only other processes have stays theirs, unless it was replaced.
    const elsewhere = this.#code.missing(name, known.definition.code ?? [])
    const names = [...codeNames(code), ...elsewhere.filter((part) => !members.includes(memberOf(part)))]
    const packed = Object.fromEntries(members.map((member) => [member, data[member] ?? null]))
    await this.#engine.call('updateTrigger', { name, changes: { ...packed, code: names.length > 0 ? names : null } })
    this.#code.set(name, code)
    this.#expectDue()
  }

  /** A schedule may be due before everything else. */
  #expectDue(): void {
    this.#engine.deadlines.expect(this.#engine.flows.nextDeadline())
  }

  async enable(name: string): Promise<void> {
    await this.#engine.call('enableTrigger', { name: checkName(name, 'name'), enabled: true })
    this.#expectDue()
  }

  async disable(name: string): Promise<void> {
    await this.#engine.call('enableTrigger', { name: checkName(name, 'name'), enabled: false })
  }

  async remove(name: string): Promise<boolean> {
    const removed = await this.#engine.call('removeTrigger', { name: checkName(name, 'name') })
    if (removed) this.#code.remove(name)
    return removed
  }

  get(name: string): surface.RegisteredTrigger | undefined {
    const known = this.#registry.get(checkName(name, 'name'))
    return known && this.#registry.show(known)
  }

  list(filter: { type?: string; scope?: string; tag?: string } = {}): surface.RegisteredTrigger[] {
    const { type, scope, tag } = checkOptions(filter, ['type', 'scope', 'tag'])
    return this.#registry
      .all()
      .map((known) => this.#registry.show(known))
      .filter((trigger) => type === undefined || trigger.type === type)
      .filter((trigger) => scope === undefined || trigger.scope === scope)
      .filter((trigger) => tag === undefined || trigger.tags?.includes(tag))
  }

  async subscribe(
    triggerName: string,
    flowName: string,
    options: { mode?: surface.SubscriptionMode } = {},
  ): Promise<void> {
    checkName(triggerName, 'triggerName')
    checkName(flowName, 'flowName')
    const { mode } = checkOptions(options, ['mode'])
    await this.#engine.call('subscribeFlow', { triggerName, flowName, mode: modeName(mode) })
    this.#code.setMode(triggerName, flowName, mode)
  }

  async unsubscribe(triggerName: string, flowName: string): Promise<boolean> {
    const request = { triggerName: checkName(triggerName, 'triggerName'), flowName: checkName(flowName, 'flowName') }
    const removed = await this.#engine.call('unsubscribeFlow', request)
    this.#code.setMode(triggerName, flowName, undefined)
    return removed
  }

  async emit(name: string, payload?: unknown, options: surface.EmitTriggerOptions = {}): Promise<surface.Firing> {
    checkName(name, 'name')
    const { idempotencyKey } = checkOptions(options, ['idempotencyKey'])
    if (idempotencyKey !== undefined) checkName(idempotencyKey, 'idempotencyKey')
    return taken(await this.#fire(name, payload, { idempotencyKey }))
  }

  async execute(
    name: string,
    payload?: unknown,
    options: surface.EmitTriggerOptions & { userId?: string } = {},
  ): Promise<surface.Firing> {
    const { idempotencyKey, userId } = checkOptions(options, ['idempotencyKey', 'userId'])
    if (idempotencyKey !== undefined) checkName(idempotencyKey, 'idempotencyKey')
    if (userId !== undefined) checkName(userId, 'userId')
    await this.#registry.find(checkName(name, 'name'))
    return taken(await this.#fire(name, payload, { idempotencyKey, userId }))
  }

  /** Fires a trigger with what schema, filter and transform make of a payload. */
  async #fire(name: string, payload: unknown, options: FireOptions): Promise<Fired> {
    // What a caller hands over counts as it is now.
    const given = Json.of(payload, 'payload')
    await this.#engine.registrations.done()
    const known = await this.#registry.findUsable(name)
    const context = options.context ?? { triggerName: name }
    const hasCode = known?.definition.code !== undefined
    const prepared = hasCode ? await this.#code.prepare(known.definition, given?.parse(), context) : { payload }
    if ('issues' in prepared) throw unfit(name, prepared.issues)
    const skip = 'skip' in prepared ? prepared.skip : undefined
    const packed = hasCode ? Json.of(prepared.payload, 'The payload of transform') : given
    const modes = skip === undefined ? await this.#code.choose(name, packed) : {}
    const { idempotencyKey, userId, delivery } = options
    return await this.#record(
      { name, payload: packed, idempotencyKey, modes, userId, skip, delivery },
      prepared.payload,
    )
  }

  async #record(request: Request<'fire'>, payload: unknown): Promise<Fired> {
    const fire = async (traceparent?: string) => {
      const answer = await this.#expecting(() => this.#engine.call('fire', { ...request, traceparent }))
      return { ...answer, fired: await this.#settle(answer, payload, request.userId) }
    }
    const { telemetry } = this.#engine
    return (await (telemetry ? telemetry.fire(request.name, fire) : fire())).fired
  }

  async #expecting<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      // It may be recorded, and not be worked off.
      this.#engine.sweeper.expect()
      throw error
    }
  }

  /** Hands over what a firing led to. */
  async #settle(answer: Answer<'fire'>, payload: unknown, userId?: string): Promise<Fired> {
    const { fireId, triggerName, timestamp, status, runs, runIds, jobs, refused, reason, retryAfterMs } = answer
    for (const runId of runIds) this.#engine.executions.wake(runId)
    if (status !== 'fired' && !answer.repeated) this.#engine.telemetry?.fired(triggerName, status)
    // It fires when it is quiet.
    if (status === 'fired') this.#expectDue()
    const owing = answer.repeated && jobs.length === 0 ? [] : [...runIds, ...runs.map(({ runId }) => runId)]
    await this.#engine.handOver(owing, jobs)
    const firing = {
      ...{ fireId, triggerName, status, timestamp },
      ...(payload !== undefined && { data: payload }),
      ...{ runs, resumed: [...new Set(runIds)] },
      ...(userId !== undefined && { userId }),
      ...(reason !== undefined && { reason }),
      ...(retryAfterMs !== undefined && { retryAfter: retryAfterMs }),
    }
    return { firing, repeated: answer.repeated, ...(refused !== undefined && { refused }) }
  }

  preview(
    schedule: surface.ScheduleOptions,
    options: { from?: surface.Time; count?: number } = {},
  ): surface.ScheduledInstant[] {
    const { from = this.#engine.options.timers.now(), count } = checkOptions(options, ['from', 'count'])
    return previewSchedule(schedule, from, count)
  }

  async runs(name: string, options: { limit?: number; status?: string } = {}): Promise<surface.Firing[]> {
    checkName(name, 'name')
    const { limit, status } = checkOptions(options, ['limit', 'status'])
    checkOneOf(status, 'status', STATUSES)
    const found = await this.#engine.call('firings', { name, status, limit: checkLimit(limit) })
    return found.map((firing) => ({ ...firing, resumed: [] }))
  }

  async stats(name?: string): ReturnType<surface.TriggerEngine['stats']> {
    if (name !== undefined) checkName(name, 'name')
    return await this.#engine.call('triggerStats', { name })
  }

  async retry(fireId: string): Promise<surface.Firing> {
    const request = { fireId: checkName(fireId, 'fireId') }
    await this.#engine.registrations.done()
    const undecided = await this.#engine.call('undecidedFiring', request)
    const modes =
      undecided === null ? {} : await this.#code.choose(undecided.triggerName, Json.of(undecided.payload, 'payload'))
    const answer = await this.#expecting(() => this.#engine.call('retryFiring', { ...request, modes }))
    return taken(await this.#settle(answer, undefined))
  }

  async pending(filter: { triggerName?: string; flowName?: string } = {}): Promise<surface.PendingStart[]> {
    const { triggerName, flowName } = checkOptions(filter, ['triggerName', 'flowName'])
    const all = await this.#engine.call('pendingStarts', {})
    return all
      .filter((start) => triggerName === undefined || start.triggerName === triggerName)
      .filter((start) => flowName === undefined || start.flowName === flowName)
  }

  async start(fireId: string, flowName: string, options: { userId?: string } = {}): Promise<{ runId: string }> {
    const { userId } = checkOptions(options, ['userId'])
    if (userId !== undefined) checkName(userId, 'userId')
    const request = { fireId: checkName(fireId, 'fireId'), flowName: checkName(flowName, 'flowName'), userId }
    const { run, jobs } = await this.#expecting(() => this.#engine.call('startPending', request))
    await this.#engine.handOver([run.runId], jobs)
    return { runId: run.runId }
  }

  async dismiss(fireId: string, flowName: string, options: { userId?: string; reason?: string } = {}): Promise<void> {
    const { userId, reason } = checkOptions(options, ['userId', 'reason'])
    if (userId !== undefined) checkName(userId, 'userId')
    if (reason !== undefined) checkName(reason, 'reason')
    const request = { fireId: checkName(fireId, 'fireId'), flowName: checkName(flowName, 'flowName'), userId, reason }
    await this.#engine.call('dismissPending', request)
  }

  async deliveries(
    name: string,
    options: { limit?: number; verdict?: string } = {},
  ): ReturnType<surface.TriggerEngine['deliveries']> {
    const { limit, verdict } = checkOptions(options, ['limit', 'verdict'])
    checkOneOf(verdict, 'verdict', VERDICTS)
    return await new Ledger(this.#engine).list(checkName(name, 'name'), { limit: checkLimit(limit), verdict })
  }

  async redeliver(deliveryId: string, options: { again?: boolean } = {}): Promise<surface.WebhookResponse> {
    const { again = false } = checkOptions(options, ['again'])
    if (typeof again !== 'boolean') throw invalid('again', again, 'true or false')
    return await this.#webhooks.redeliver(checkName(deliveryId, 'deliveryId'), again)
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
    return await this.#webhooks.handle(request)
  }

  async #wake({ runId, awaitId }: { runId: string; awaitId: string }, jobs: surface.StepJob[]): Promise<void> {
    this.#engine.executions.wake(runId, awaitId)
    await this.#engine.handOverOrWarn([runId], jobs)
  }
}

function check(runId: string, awaitId: string): { runId: string; awaitId: string } {
  return { runId: checkName(runId, 'runId'), awaitId: checkName(awaitId, 'awaitId') }
}

function checkOneOf(value: string | undefined, name: string, known: string[]): void {
  if (value !== undefined && !known.includes(value)) throw invalid(name, value, `one of ${known.join(', ')}`)
}

function cannotWork(name: string, problems: string[]): NuxtQueueError {
  return new NuxtQueueError('NQ_CONFIG', `The trigger ${shown(name)} can't work: ${[...new Set(problems)].join('; ')}.`)
}

function unfit(name: string, issues: string[]): NuxtQueueError {
  const message = `The payload of the trigger ${shown(name)} does not fit its schema: ${issues.join('; ')}`
  return new NuxtQueueError('NQ_VALIDATION', message)
}

/** A firing that whoever waited for it could take. */
function taken({ firing, refused }: Fired): surface.Firing {
  if (refused !== undefined) throw new NuxtQueueError('NQ_TOO_LARGE', refused)
  return firing
}
