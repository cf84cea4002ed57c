/**
 * What the handler of the original's worker is given beside its input.
 */

import type * as surface from '../../compat.js'
import type { RunLogger } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError } from '../errors.js'
import { StateHome } from '../migration/state-home.js'
import { engineOf } from '../open.js'
import { LiveAwaits } from './live-awaits.js'
import { envelopeOf, loggerOf, routerOf } from './run-logger.js'
import { ScopedState } from './run-state.js'
import { knownSourceOf, type Source } from './source.js'

/** Makes the context of a step; documented in `compat.d.ts`. */
export function createWorkerContext(given: surface.KnownSource, job: surface.WorkerJob): surface.WorkerContext {
  const source = knownSourceOf(given)
  const engine = source.core && engineOf(source.core)
  const home = engine?.options.states ?? new StateHome(source.store)
  const { runId, ...envelope } = envelopeOf(job)
  const { jobId, queue, flowName = '', stepName = '', attempt = 1, provider, registry } = job
  const stepId = job.stepId ?? `${runId}__${stepName}__attempt-${attempt}`
  const place = { ...envelope, stepId, attempt }
  return {
    ...{ jobId, queue, runId, flowId: runId, flowName, stepName, stepId, attempt, provider, registry },
    logger: loggerOf(source, { ...place, runId }, routerOf(source)) as RunLogger,
    state: new ScopedState(home.stateOf(runId, place)),
    ...flowOf(engine, source, { ...job, runId, flowName, stepName, attempt }),
  }
}

type Job = surface.WorkerJob & { runId: string; flowName: string; stepName: string; attempt: number }

function flowOf(engine: Engine | undefined, { core }: Source, job: Job): Pick<surface.WorkerContext, 'flow' | 'await'> {
  const { runId, flowName, stepName, attempt, jobId, queue, input } = job
  const data = { runId, flowName, input, attempt }
  const awaits = engine && new LiveAwaits(engine, { queue, name: stepName, jobId, data, isForeign: true })
  const waiting = (): LiveAwaits => awaits ?? refuse('waits')
  // The overloads of index.d.ts say what comes out.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  type Any = any
  return {
    flow: {
      startFlow: async (name, input) => {
        if (core === undefined) return refuse('starts a flow')
        const started = await core.flows.start(name, input, { correlationId: job.correlationId ?? runId })
        return { ...started, flowId: started.runId }
      },
      emit: async (name, payload) => {
        if (core === undefined) return refuse('emits an event')
        return await core.flows.emit(runId, name, payload)
      },
      ...job.flow,
      await: (name: string, options?: Any): Promise<Any> => waiting().wait(({ flow }) => flow.await(name, options)),
    },
    await: {
      time: (duration) => waiting().wait((waits) => waits.await.time(duration)),
      until: (date) => waiting().wait((waits) => waits.await.until(date)),
      event: (options: Any): Promise<Any> => waiting().wait((waits) => waits.await.event(options)),
      webhook: (options?: Any): Promise<Any> => waiting().webhook((waits) => waits.await.webhook(options)),
      getWebhookUrl: () => waiting().webhookUrl(),
    },
  }
}

function refuse(what: string): never {
  const message = `A step ${what} through a core: give createWorkerContext what open() gives, or a flow engine as flow.`
  throw new NuxtQueueError('NQ_CONFIG', message)
}
