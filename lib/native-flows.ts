/**
 * The calls of the native flow engine: JSON over and JSON back.
 */

import type { RunStatus, StepJob } from '../index.js'
import type { NativeFlows } from '../native.cjs'
import type { Bridge } from './bridge.js'
import { rethrowing, unwrap } from './errors.js'
import { toJson } from './json.js'
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
  input?: unknown
  /** An earlier execution did a part of it. */
  rerun: boolean
  /** The awaits that earlier executions began, in order. */
  awaits: RecordedAwait[]
}

/** A step that is not to be run: it has ended, or its run has. `failed`: because of this. */
interface RefusedStep {
  run: false
  reason: string
  failed?: boolean
}

/** Jobs that somebody was about to hand over, and did not. */
export interface Debt extends Jobs {
  runId: string
  /** What {@link FlowCalls.settleDebt} is told. */
  note: string
}

/** What each method takes and gives. */
interface Calls {
  start: [{ flow: string; runId?: string; input?: Json; triggeredBy?: string }, Jobs & { runId: string }]
  emit: [
    { runId: string; name: string; payload?: Json; step?: Omit<Execution, 'runId'> & { ordinal: number } },
    Jobs & { woken: number },
  ]
  cancel: [{ runId: string; reason?: string }, boolean]
  status: [{ runId: string }, RunStatus | null]
  runs: [{ flow: string; limit?: number; offset?: number }, RunStatus[]]
  explain: [{ runId: string }, string]
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
    { name: string; payload?: Json; idempotencyKey?: string },
    /** `refused`: why a run could not take it. */
    Jobs & { fireId: string; timestamp: string; runIds: string[]; refused?: string },
  ]
  fireDue: [Record<string, never>, Jobs & { runIds: string[]; next: number | null }]
  follow: [Record<string, never>, { wake: AwaitRef[]; ended: string[]; next: number | null } | null]
  finishFirings: [{ olderThanMs: number }, Jobs & { runIds: string[] }]
}

/** A method of the native flow engine. */
export type CallName = keyof Calls
export type Request<N extends CallName> = Calls[N][0]
export type Answer<N extends CallName> = Calls[N][1]

type Methods = { [name in CallName]: (ticket: number, request: string) => string | null }

/** The native flow engine of a store. */
export class FlowCalls {
  readonly #bridge: Bridge
  readonly #native: NativeFlows

  constructor(bridge: Bridge) {
    this.#bridge = bridge
    this.#native = bridge.store.flows()
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
