/**
 * A step of a recorded run, executed again in memory, on what the record says it saw.
 */

import type * as surface from '../index.js'
import type { ReplayedStep } from '../testing.js'
import { NuxtQueueError } from './errors.js'
import { reduceState } from './reduce.js'
import { createTestRuntime } from './test-runtime.js'

type Data = Record<string, unknown>
/** As a recorded run may hold it: the types of the package say more. */
type Entry = Omit<surface.UntypedRecord, 'data'> & { data?: Data }
type Core = surface.QueueCore
type Clock = Awaited<ReturnType<typeof createTestRuntime>>['clock']

const QUEUE = 'replay'
const STARTED = ['flow.step.started', 'step.started']
const SETTLED = ['trigger.fired', 'trigger.timeout', 'trigger.canceled']

/** Executes a step again; documented in `testing.d.ts`. */
export async function replayStep(
  events: readonly surface.UntypedRecord[],
  stepName: string,
  handler: surface.StepHandler,
): Promise<ReplayedStep> {
  const recorded = new RecordedStep(events as readonly Entry[], stepName)
  const { core, clock, close } = await createTestRuntime({ start: recorded.startedAt })
  try {
    return await execute(core, clock, recorded, handler)
  } finally {
    await close()
  }
}

async function execute(
  core: Core,
  clock: Clock,
  recorded: RecordedStep,
  handler: surface.StepHandler,
): Promise<ReplayedStep> {
  const { runId, flowName, name, emits } = recorded
  const stream = `nq:flow:${runId}`
  const step = { queue: QUEUE, ...(emits && { emits }) }
  core.flows.define({ name: flowName, entry: { step: name, queue: QUEUE }, steps: { [name]: step } })
  await core.flows.start(flowName, recorded.input(), { runId })
  const begun = await core.store.append(stream, { type: 'state.snapshot', runId, flowName, data: recorded.state() })

  let thrown: { error: unknown } | undefined
  const observed: surface.StepHandler = async (input, context) => {
    try {
      return await handler(input, context)
    } catch (error) {
      thrown = { error }
      throw error
    }
  }
  await core.worker(QUEUE, { [name]: observed })
  await answer(core, clock, recorded)
  if (thrown !== undefined) throw thrown.error
  const after = (await core.store.query({ stream, after: begun.id })) as surface.UntypedRecord[]
  const completed = after.find(({ type }) => type === 'flow.step.completed') as Entry | undefined
  return {
    result: completed?.data?.result,
    state: await core.store.state(runId).getAll(),
    events: after.filter(({ stepName }) => stepName === name) as surface.EventRecord[],
  }
}

/** Gives the awaits of a step their recorded outcomes, in the order in which the step got them. */
async function answer({ flows, triggers }: Core, clock: Clock, { runId, name, outcomes }: RecordedStep): Promise<void> {
  const left = [...outcomes]
  for (;;) {
    await clock.settle()
    if ((await flows.status(runId))?.endedAt !== undefined) return
    const open = await triggers.awaits(runId)
    const index = left.findIndex(({ awaitId }) => open.some((known) => known.awaitId === awaitId))
    const [outcome] = index < 0 ? [] : left.splice(index, 1)
    const { awaitId, deadline } = open.find((known) => known.awaitId === outcome?.awaitId) ?? {}
    if (outcome === undefined || awaitId === undefined) {
      const waits = open.map((known) => known.awaitId).join(', ')
      const message = `The step ${name} waits for ${waits}, and its record says nothing of what came of that.`
      throw new NuxtQueueError('NQ_NONDETERMINISTIC', message)
    }
    if (outcome.kind === 'fired') await triggers.resolveAwait(runId, awaitId, outcome.data)
    else if (outcome.kind === 'canceled') await triggers.cancelAwait(runId, awaitId)
    else if (deadline !== undefined) await clock.set(deadline)
  }
}

/** What came of an await. */
interface Outcome {
  awaitId: string
  /** `passed`: its deadline. */
  kind: 'fired' | 'canceled' | 'passed'
  data?: unknown
}

/** A step's part of the record of a run. */
class RecordedStep {
  readonly name: string
  readonly runId: string
  readonly flowName: string
  readonly startedAt: string
  readonly outcomes: readonly Outcome[]
  readonly #events: readonly Entry[]
  /** Those of the step. */
  readonly #own: readonly Entry[]
  readonly #started: Entry

  constructor(events: readonly Entry[], name: string) {
    const started = events.find(({ type, stepName }) => STARTED.includes(type) && stepName === name)
    if (started === undefined)
      throw new NuxtQueueError('NQ_NOT_FOUND', `The step ${JSON.stringify(name)} did not begin in this run.`)
    this.name = name
    this.#events = events
    this.#started = started
    this.#own = events.filter(({ stepName }) => stepName === name)
    this.runId = started.runId ?? 'replay'
    this.flowName = started.flowName ?? 'replay'
    this.startedAt = started.timestamp
    this.outcomes = this.#findOutcomes()
  }

  /** The names that it may emit, if its run says so. */
  get emits(): string[] | undefined {
    return this.#plan?.steps[this.name]?.emits
  }

  /** What it worked on: as `Progress::input_of` in `src/run/progress/mod.rs`. */
  input(): unknown {
    const plan = this.#plan
    if (plan === undefined) return this.#started.data?.input
    if (plan.entry === this.name) return this.#events[0]?.data?.input
    const names = plan.steps[this.name]?.subscribes ?? []
    if (names.length === 1) return this.#payload(names[0] as string)
    return Object.fromEntries(names.map((name) => [name, this.#payload(name) ?? null]))
  }

  /** The state that it began with. */
  state(): Data {
    const before = this.#events.slice(0, this.#events.indexOf(this.#started))
    return reduceState(before, { at: this.startedAt })
  }

  /** The definition of its flow, if the run was begun by a flow engine. */
  get #plan(): { entry: string; steps: Record<string, { subscribes?: string[]; emits?: string[] }> } | undefined {
    return this.#events[0]?.data?.flow as never
  }

  /** The payload of the first event of a name. */
  #payload(name: string): unknown {
    const emitted = this.#events.find(({ type, data }) => type === 'emit' && data?.name === name)
    return emitted && payloadOf(emitted)
  }

  /** In the order in which the step went on with them; then those with which it has not yet. */
  #findOutcomes(): Outcome[] {
    const idsOf = (types: string[]) =>
      this.#own.filter(({ type }) => types.includes(type)).map(({ data }) => String(data?.awaitId))
    // What is canceled and never gone on with was still open when the step ended.
    const ids = new Set([...idsOf(['flow.step.resumed']), ...idsOf(['trigger.fired', 'trigger.timeout'])])
    return [...ids].flatMap((awaitId) => this.#outcomeOf(awaitId) ?? [])
  }

  #outcomeOf(awaitId: string): Outcome | undefined {
    const ofAwait = this.#own.filter(({ data }) => data?.awaitId === awaitId)
    const settled = ofAwait.find(({ type }) => SETTLED.includes(type))
    if (settled === undefined) return undefined
    if (settled.type === 'trigger.canceled') return { awaitId, kind: 'canceled' }
    const isTime = ofAwait.some(({ type, data }) => type === 'trigger.awaiting' && data?.kind === 'time')
    if (settled.type === 'trigger.timeout' || isTime) return { awaitId, kind: 'passed' }
    // What was judged is judged again: the schema gets what it got, not what it made of that.
    const { fireId } = settled.data ?? {}
    const emitted = this.#events.find(({ type, id }) => type === 'emit' && id === fireId)
    if (emitted) return { awaitId, kind: 'fired', data: payloadOf(emitted) }
    const offered = ofAwait.find(({ type, data }) => type === 'trigger.offered' && data?.offerId === fireId)
    return { awaitId, kind: 'fired', data: (offered ?? settled).data?.data }
  }
}

/** The payload of an `emit`: its own keys beside the name, or, where they would not do, `payload`. */
function payloadOf({ data }: Entry): unknown {
  const { name: _name, ...members } = data ?? {}
  const keys = Object.keys(members)
  if (keys.length === 0) return undefined
  return keys.length === 1 && keys[0] === 'payload' ? members.payload : members
}
