/**
 * Logs of a run.
 */

import type * as surface from '../../compat.js'
import type { RunLogger as Surface } from '../../index.js'
import { readConfig } from '../config.js'
import { placeOf } from '../event-store.js'
import { RunLogger } from '../log/logger.js'
import { LogRouter } from '../log/router.js'
import { engineOf } from '../open.js'
import { checkEnvelope } from '../pack.js'
import { knownSourceOf, type Source } from './source.js'

/** Makes a logger of a run; documented in `compat.d.ts`. */
export function createRunLogger(
  given: surface.KnownSource,
  context: surface.RunContext,
  options: surface.LoggerOptions = {},
): Surface {
  const source = knownSourceOf(given)
  return loggerOf(source, context, routerOf(source, options)) as Surface
}

/** The way of lines, as is said here or by the core. */
export function routerOf({ core }: Source, { logging }: surface.LoggerOptions = {}): LogRouter {
  const engine = core && engineOf(core)
  if (engine !== undefined && logging === undefined) return engine.options.logs
  return new LogRouter(readConfig(logging === undefined ? {} : { logging }).logging)
}

export function loggerOf({ store }: Source, context: surface.RunContext, router: LogRouter): RunLogger {
  const { runId, ...envelope } = envelopeOf(context)
  checkEnvelope(runId, envelope)
  const { prefix, now } = placeOf(store)
  const options = { ...router.optionsOf(context.correlationId ?? runId), now }
  return new RunLogger(store, `${prefix}:flow:${runId}`, { runId, ...envelope }, options)
}

/** What the events of a step say of their place. */
export function envelopeOf(context: surface.RunContext): surface.RunContext & { runId: string } {
  const { runId, flowId, flowName, stepName, stepId, attempt, queue, instanceId, workerId, correlationId } = context
  const fields = { flowName, stepName, stepId, attempt, queue, instanceId, workerId, correlationId }
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '')
  return { ...Object.fromEntries(given), runId: (runId ?? flowId) as string }
}
