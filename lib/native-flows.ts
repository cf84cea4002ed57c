/**
 * The calls of the native flow engine: JSON over and JSON back.
 */

import type { Delivery, Firing, PendingStart, RunStatus, StepJob, TriggerDefinition } from '../index.js'
import type { NativeFlows } from '../native.cjs'
import type { Bridge } from './bridge.js'
import { rethrowing, unwrap } from './errors.js'
import { toJson } from './json.js'
import type { WaitingStep } from './registry/calls.js'
import type { NativePoint } from './time.js'

/** A payload of a caller's: checked once, and written once, when the call is made. */
export class Json {
  readonly text: string

  private constructor(text: string) {
    this.text = text
  }

  /** What JSON can't hold is refused with its place in `path`. `undefined` is nothing. */
  static of(value: unknown, path: string): Json | undefined {
    const text = toJson(value, path)
    return text === undefined ? undefined : new Json(text)
  }

  /** A copy of the value. */
  parse(): unknown {
    return JSON.parse(this.text)
  }
}

/** Jobs that are to be handed over. */
interface Jobs {
  jobs: StepJob[]
}

/** Which execution of which step. */
export interface Execution {
  runId: string
  stepName: string
  executionId: string
}

interface AwaitRef {
  runId: string
  awaitId: string
}

/** `trigger` and `event`: emitted in the run, or fired, by name; `time`: only by its deadline; `webhook`: over HTTP. */
export type AwaitKind = 'trigger' | 'event' | 'time' | 'webhook'

/** How an await stands. */
export interface AwaitState {
  awaitId: string
  state: 'open' | 'fired' | 'timeout' | 'canceled'
  data?: unknown
  reason?: string
  /** ISO 8601. */
  deadline?: string
  /** Whether the step went on already. */
  resumed: boolean
  /** Payloads that nobody has judged yet, oldest first. */
  offers: Array<{ offerId: string; data?: unknown }>
}

/** What the record knows of an await that a step began. */
export interface RecordedAwait {
  awaitId: string
  name: string
  kind: AwaitKind
  /** An earlier execution went on with its outcome, as the n-th of its awaits, from 1. */
  resumed?: number
}

/** A step that is to be run. */
export interface BegunStep {
  run: true
  attempt: number
  maxAttempts: number
  stepId: string
  flowName: string
  /** What its run belongs together with; absent for a run that no engine of this version began. */
  correlationId?: string
  /** Where its run stands in a distributed trace. */
  traceparent?: string
  /** How long this attempt could have run before, in milliseconds; absent if it has run in part. */
  waitedMs?: number
  input?: unknown
  /** An earlier execution did a part of it. */
  rerun: boolean
  /** The awaits that earlier executions began, in order. */
  awaits: RecordedAwait[]
}

/**
 * A step that is not to be run: it has ended, or its run has. `failed`: because of this. `elsewhere`: it is for code of
 * another version.
 */
export interface RefusedStep {
  run: false
  reason: string
  failed?: boolean
  elsewhere?: boolean
}

/** Jobs that somebody was about to hand over, and did not. */
export interface Debt extends Jobs {
  runId: string
  /** What {@link FlowCalls.settleDebt} is told. */
  note: string
}

/** What was due. */
export interface Due extends Jobs {
  runIds: string[]
  /** The triggers that fired or were skipped. */
  fired: Array<[name: string, status: Firing['status']]>
}

/** What was fired, and what it led to. */
interface FiredAnswer extends Jobs {
  fireId: string
  triggerName: string
  timestamp: string
  status: Firing['status']
  runs: Array<{ flowName: string; runId: string }>
  /** The runs that awaited it. */
  runIds: string[]
  /** Why a run could not take it. */
  refused?: string
  reason?: string
  retryAfterMs?: number
  /** It was fired before. */
  repeated: boolean
}

/** A trigger as the native side knows it. */
export interface KnownTrigger {
  definition: Omit<TriggerDefinition, 'schema' | 'transform'> & { code?: string[]; [member: string]: unknown }
  enabled: boolean
  subscribers: Array<{ flowName: string; mode: 'auto' | 'manual' | 'function' }>
  /** The headers that the record of a delivery keeps; in lower case. */
  keptHeaders: string[]
  /** Whether what is kept is enough to check a delivery again. */
  canCheckAgain: boolean
}

/** What each method takes and gives. */
interface Calls {
  start: [
    {
      flow: string
      runId?: string
      input?: Json
      triggeredBy?: string
      correlationId?: string
      causationId?: string
      traceparent?: string
      version?: string
    },
    Jobs & { runId: string },
  ]
  emit: [
    { runId: string; name: string; payload?: Json; step?: Omit<Execution, 'runId'> & { ordinal: number } },
    Jobs & { woken: number },
  ]
  cancel: [{ runId: string; reason?: string }, boolean]
  status: [{ runId: string }, RunStatus | null]
  runs: [{ flow: string; limit?: number; offset?: number }, RunStatus[]]
  chain: [{ correlationId: string }, RunStatus[]]
  explain: [{ runId: string }, string]
  waiting: [{ runId: string }, WaitingStep[]]
  unavailable: [{ runId: string; stepName: string; reason: string }, boolean]
  beginStep: [
    Execution & {
      flowName: string
      queue: string
      jobId: string
      workerId?: string
      instanceId?: string
      input?: Json
      maxAttempts?: number
      /** The run was started by an engine: if there is none any more, there is nothing to do. */
      isOfEngine: boolean
    },
    BegunStep | RefusedStep,
  ]
  completeStep: [Execution & { result?: Json }, { accepted: boolean; ended: boolean }]
  failStep: [
    Execution & { error: string; stack?: string; final?: boolean; maxAttempts: number },
    { accepted: boolean; retry?: { nextAttempt: number; delay: number }; ended: boolean },
  ]
  stalled: [{ runId: string; stepName: string; silentForMs: number; reason: string }, boolean]
  releaseStep: [Execution & { reason: string }, boolean]
  suspendStep: [Execution, { suspended: boolean }]
  openAwait: [
    Execution & {
      name: string
      ordinal: number
      /** How many awaits this execution began before. */
      index: number
      kind: AwaitKind
      deadlineMs?: number
      timeoutMs?: number
      data?: Json
      conditional?: boolean
      since?: NativePoint
    },
    AwaitState,
  ]
  awaitState: [AwaitRef, AwaitState]
  acceptOffer: [AwaitRef & { offerId: string; data?: Json }, AwaitState]
  rejectOffer: [AwaitRef & { offerId: string; reason: string }, AwaitState]
  resumeAwait: [Execution & { awaitId: string }, AwaitState]
  resolveAwait: [AwaitRef & { data?: Json }, Jobs & { resolved: boolean }]
  cancelAwait: [AwaitRef & { reason?: string }, Jobs & { canceled: boolean }]
  awaits: [{ runId: string }, RunStatus['awaits']]
  reconcile: [{ runId: string }, Jobs]
  owed: [{ olderThanMs: number }, Debt[]]
  handedOver: [{ runId: string }, null]
  fire: [
    {
      name: string
      payload?: Json
      idempotencyKey?: string
      /** What functions said, by flow; `null`: nothing happens. */
      modes?: Record<string, string | null>
      userId?: string
      /** Why it does not fire. */
      skip?: string
      traceparent?: string
      /** What stands in the ledger of it. */
      delivery?: Json
    },
    FiredAnswer,
  ]
  registerTrigger: [{ definition: object }, boolean]
  updateTrigger: [{ name: string; changes: object }, null]
  enableTrigger: [{ name: string; enabled: boolean }, boolean]
  removeTrigger: [{ name: string }, boolean]
  subscribeFlow: [{ triggerName: string; flowName: string; mode: string }, null]
  unsubscribeFlow: [{ triggerName: string; flowName: string }, boolean]
  subscribeDefined: [{ flowName: string; triggers: string[]; mode: string }, null]
  firings: [{ name: string; status?: string; limit?: number }, Array<Omit<Firing, 'resumed'>>]
  triggerStats: [{ name?: string }, { total: number; byStatus: Partial<Record<Firing['status'], number>> }]
  retryFiring: [{ fireId: string; modes?: Record<string, string | null> }, FiredAnswer]
  undecidedFiring: [{ fireId: string }, { triggerName: string; payload?: unknown } | null]
  pendingStarts: [Record<string, never>, PendingStart[]]
  startPending: [
    { fireId: string; flowName: string; userId?: string },
    Jobs & { run: { flowName: string; runId: string } },
  ]
  dismissPending: [{ fireId: string; flowName: string; userId?: string; reason?: string }, null]
  recordDelivery: [{ name: string; delivery: Json; rejected: boolean }, null]
  deliveries: [{ name: string; verdict?: string; limit?: number }, Array<Delivery & { timestamp: string }>]
  findDelivery: [{ deliveryId: string }, { name: string; delivery: Delivery & { timestamp: string } } | null]
  fireDue: [Record<string, never>, Due & { next: number | null; more: boolean }]
  follow: [Record<string, never>, { wake: AwaitRef[]; ended: string[]; next: number | null } | null]
  finishFirings: [{ olderThanMs: number }, Due]
}

/** A method of the native flow engine. */
export type CallName = keyof Calls
export type Request<N extends CallName> = Calls[N][0]
export type Answer<N extends CallName> = Calls[N][1]

type Methods = { [name in CallName]: (ticket: number, request: string) => string | null }

/** The code of this process. */
interface Code {
  version?: string | undefined
  /** Which runs of other versions it takes. */
  strategy?: string | undefined
}

/** The native flow engine of a store. */
export class FlowCalls {
  readonly #bridge: Bridge
  readonly #native: NativeFlows

  constructor(bridge: Bridge, code: Code) {
    this.#bridge = bridge
    this.#native = rethrowing(() => bridge.store.flows(JSON.stringify(code)))
  }

  define(definition: object, replace: boolean): void {
    rethrowing(() => this.#native.define(JSON.stringify(definition), replace))
  }

  /** Calls a method. `background`: it waits for others, and must not keep Node alive. */
  async call<N extends CallName>(name: N, request: Request<N>, background = false): Promise<Answer<N>> {
    const packed = pack(request)
    const methods = this.#native as Methods
    return JSON.parse(unwrap(await this.#bridge.call((ticket) => methods[name](ticket, packed), background)))
  }

  /** Everything that keeps a trigger from working, as far as its data tells. */
  triggerProblems(definition: object): string[] {
    return rethrowing(() => this.#native.triggerProblems(JSON.stringify(definition)))
  }

  trigger(name: string): KnownTrigger | undefined {
    const known = this.#native.trigger(name)
    return known === null ? undefined : JSON.parse(known)
  }

  allTriggers(): KnownTrigger[] {
    return JSON.parse(this.#native.allTriggers())
  }

  /** Grows with every change of triggers or subscriptions that this process hears of. */
  triggerRevision(): number {
    return this.#native.triggerRevision()
  }

  /** The next instant at which there is something to do, as far as is known. */
  nextDeadline(): number | null {
    return this.#native.nextDeadline()
  }

  /** A new id, in the order of time. */
  newId(): string {
    return this.#native.newId()
  }

  /** Whether a flow is on record as subscribing to something, by its definition or since. */
  subscribes(flowName: string): boolean {
    return this.#native.subscribes(flowName)
  }

  /** The webhook of a request's path: its trigger, or the methods that there are, or `null`. */
  route(method: string, path: string): { name: string; params: Array<[string, string]> } | { allow: string[] } | null {
    return JSON.parse(this.#native.route(method, path))
  }

  /** Reads what others have registered. */
  async refreshTriggers(): Promise<void> {
    unwrap(await this.#bridge.call((ticket) => this.#native.refreshTriggers(ticket)))
  }

  /** What {@link Debt.note} is about has been handed over. */
  async settleDebt(note: string): Promise<void> {
    unwrap(await this.#bridge.call((ticket) => this.#native.settleDebt(ticket, note)))
  }
}

function pack(request: object): string {
  const members = Object.entries(request).flatMap(([name, value]) => {
    const text = value instanceof Json ? value.text : JSON.stringify(value)
    return text === undefined ? [] : [`"${name}":${text}`]
  })
  return `{${members.join(',')}}`
}
