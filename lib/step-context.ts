/**
 * What the handler of a step is given beside its input.
 */

import type * as surface from '../index.js'
import { type AwaitSpec, Awaits, readOptions, toDeadline, toTimeout } from './awaits.js'
import { NuxtQueueError, shown } from './errors.js'
import { runIdOf, startRun } from './flow-start.js'
import { RunLogger } from './log/logger.js'
import { Json } from './native-flows.js'
import { checkName, checkOptions, invalid } from './query.js'
import type { StepExecution } from './step-execution.js'
import { StepState } from './step-state.js'

/** Errors of an emit that was not recorded. */
const REFUSALS = ['NQ_INVALID_EVENT', 'NQ_VALIDATION', 'NQ_TOO_LARGE']
const AWAIT = ['timeout', 'data', 'schema', 'filter', 'since', 'onTimeout']
const EVENT = ['type', 'filter', 'schema', 'timeout', 'since', 'onTimeout']
const WEBHOOK = ['path', 'schema', 'timeout', 'onTimeout']

/** A context, and what the worker needs of it afterwards. */
export interface StepContext {
  context: surface.WorkerContext
  logger: RunLogger
}

/** Makes the context of an execution. */
export function createContext(execution: StepExecution): StepContext {
  const { job, begun } = execution.place
  const { runId } = execution
  const logger = createLogger(execution)
  // State and signal cost more than the rest together, and many steps use neither.
  let state: surface.RunState | undefined
  const context: surface.WorkerContext = {
    ...{ runId, flowId: runId, flowName: begun.flowName, stepName: job.name, stepId: begun.stepId },
    ...{ attempt: begun.attempt, jobId: job.jobId, queue: job.queue, correlationId: begun.correlationId ?? runId },
    get signal() {
      return execution.signal
    },
    get state() {
      state ??= createState(execution)
      return state
    },
    // The class has no public constructor, which makes the two types differ.
    logger: logger as surface.RunLogger,
    ...createFlow(execution),
  }
  return { context, logger }
}

function envelopeOf({ place, id }: StepExecution): surface.EventEnvelope {
  const { begun, job, workerId, instanceId } = place
  const { flowName, stepId, attempt, correlationId } = begun
  return {
    ...{ runId: id.runId, flowName, stepName: id.stepName, stepId, attempt, queue: job.queue, workerId, instanceId },
    ...(correlationId !== undefined && { correlationId }),
  }
}

function createState(execution: StepExecution): surface.RunState {
  const { states } = execution.place.engine.options
  return new StepState(states.stateOf(execution.runId, envelopeOf(execution)), execution) as surface.RunState
}

/** What an earlier execution has logged is not logged again, nor what one logs that was given up. */
function createLogger(execution: StepExecution): RunLogger {
  const { engine } = execution.place
  const { store, logs, timers } = engine.options
  return new RunLogger(store, engine.streamOf(execution.runId), envelopeOf(execution), {
    ...logs.optionsOf(execution.place.begun.correlationId ?? execution.runId),
    isMuted: () => execution.isReplaying || execution.isSuspended,
    now: timers.now,
    trace: execution.span && (() => execution.span?.fields()),
  })
}

/** The ways to emit, to start runs and to wait that a step has. */
export function createFlow(execution: StepExecution): Pick<surface.WorkerContext, 'flow' | 'await'> {
  const awaits = new Awaits(execution)
  const emits: Emits = { counts: new Map(), last: Promise.resolve() }
  /** How many runs it has started, by flow. */
  const starts = new Map<string, number>()
  // The overloads of index.d.ts say what comes out.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  const open = (read: () => AwaitSpec): Promise<any> => execution.orUnheard(async () => await awaits.open(read()))
  return {
    flow: {
      emit: (name, payload) => execution.orUnheard(() => emit(execution, emits, name, payload)),
      start: (name, input, options) => execution.orUnheard(() => start(execution, starts, name, input, options)),
      await: (name: string, options: surface.AwaitOptions = {}) =>
        open(() => {
          const others = readOptions(checkOptions(options, AWAIT))
          return { kind: 'trigger', name: nameOf(name, 'name'), ...others }
        }),
    },
    await: {
      time: (duration) => open(() => ({ kind: 'time', name: 'time', timeoutMs: toTimeout(duration, 'duration') })),
      until: (date) => open(() => ({ kind: 'time', name: 'until', deadlineMs: toDeadline(date, 'date') })),
      event: (options: surface.EventAwaitOptions) =>
        open(() => {
          const { type, ...others } = checkOptions(options, EVENT)
          return { kind: 'event', name: nameOf(type, 'type'), ...readOptions(others) }
        }),
      webhook: (options: surface.WebhookAwaitOptions = {}) =>
        open(() => {
          const { path, ...others } = checkOptions(options, WEBHOOK)
          const data = path === undefined ? undefined : { path: checkName(path, 'path') }
          return { kind: 'webhook', name: 'webhook', ...readOptions({ ...others, data }) }
        }),
      getWebhookUrl: () => execution.place.engine.options.webhookUrl(execution.runId, awaits.nextId('webhook')),
    },
  }
}

/** Starts a run that belongs to that of the step. Which it is of its flow names it, so a repetition finds it. */
async function start(
  execution: StepExecution,
  starts: Map<string, number>,
  flowName: string,
  input?: unknown,
  options: surface.StartOptions = {},
): Promise<{ runId: string }> {
  const { begun, engine } = execution.place
  const { runId, stepName } = execution.id
  expectPresent(execution, `its start of ${shown(flowName)}`)
  const n = (starts.get(nameOf(flowName, 'flowName')) ?? 0) + 1
  starts.set(flowName, n)
  const known = { runId: runIdOf(runId, stepName, flowName, n), triggeredBy: `${begun.flowName}/${stepName}` }
  const relation = { correlationId: begun.correlationId ?? runId, causationId: begun.stepId }
  return await execution.act(() => startRun(engine, flowName, input, { ...known, ...relation, ...options }))
}

/** What an execution has emitted. */
interface Emits {
  /** How often, by name. */
  counts: Map<string, number>
  /** The last call. */
  last: Promise<void>
}

async function emit(execution: StepExecution, emits: Emits, name: string, payload: unknown): Promise<void> {
  const { runId, stepName, executionId } = execution.id
  expectPresent(execution, `its emit of ${name}`)
  const packed = Json.of(payload, 'payload')
  nameOf(name, 'name')
  await execution.act(async () => {
    const { engine } = execution.place
    const record = async () => {
      const ordinal = (emits.counts.get(name) ?? 0) + 1
      const step = { stepName, executionId, ordinal }
      try {
        const answer = await engine.call('emit', { runId, name, payload: packed, step })
        emits.counts.set(name, ordinal)
        return answer
      } catch (error) {
        // What was refused was not recorded, and does not count; of everything else nobody knows.
        if (!isRefused(error)) emits.counts.set(name, ordinal)
        throw error
      }
    }
    // One after the other: which one it is of its name is known by how many are recorded before.
    const recorded = emits.last.then(record)
    emits.last = recorded.then(
      () => {},
      () => {},
    )
    const { jobs } = await recorded
    engine.executions.wake(runId)
    await execution.handOver(jobs)
  })
}

function expectPresent({ id, isRunning, isSuspended }: StepExecution, what: string): void {
  if (isRunning || isSuspended) return
  const message = `Step ${id.stepName} of run ${id.runId} has ended: ${what} comes too late. Await it in the handler.`
  throw new NuxtQueueError('NQ_CONFLICT', message)
}

function isRefused(error: unknown): boolean {
  return error instanceof NuxtQueueError && REFUSALS.includes(error.code)
}

function nameOf(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(name, value, 'a name')
  return value
}
