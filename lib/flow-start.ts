/**
 * The beginning of a run.
 */

import { createHash } from 'node:crypto'
import type { StartOptions } from '../index.js'
import type { Engine } from './engine.js'
import { NuxtQueueError } from './errors.js'
import { Json } from './native-flows.js'
import { checkName, checkOptions } from './query.js'
import { validate } from './schema.js'

const OPTIONS = ['runId', 'triggeredBy', 'correlationId', 'causationId', 'version'] as const

/** Records a run and hands over its first step. */
export async function startRun(
  engine: Engine,
  flowName: string,
  input: unknown,
  options: StartOptions,
): Promise<{ runId: string }> {
  checkName(flowName, 'flowName')
  checkOptions(options, [...OPTIONS])
  for (const name of OPTIONS) if (options[name] !== undefined) checkName(options[name], name)
  const packed = Json.of(input, 'input')
  await checkInput(engine, flowName, input)
  const { runId, triggeredBy, correlationId, causationId, version } = options
  const request = { flow: flowName, runId, input: packed, triggeredBy, correlationId, causationId, version }
  const start = async (traceparent?: string) => {
    const started = await engine.callOwing('start', { ...request, traceparent })
    await engine.handOver([started.runId], started.jobs)
    return { runId: started.runId }
  }
  return await (engine.telemetry ? engine.telemetry.start(flowName, start) : start())
}

/** The id of the n-th run of a flow that a step starts, the same in each of its executions: a UUID of version 8. */
export function runIdOf(runId: string, stepName: string, flowName: string, n: number): string {
  const bytes = createHash('sha256')
    .update(JSON.stringify([runId, stepName, flowName, n]))
    .digest()
    .subarray(0, 16)
  bytes[6] = (bytes[6] as number & 0x0f) | 0x80
  bytes[8] = (bytes[8] as number & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** What the schema makes of it is made again where the step runs: only JSON goes there. */
async function checkInput(engine: Engine, flowName: string, input: unknown): Promise<void> {
  const schema = engine.schemas.get(flowName)?.entry
  if (schema === undefined) return
  const outcome = await validate(schema, input)
  if ('value' in outcome) return
  const message = `The input of flow ${flowName} does not fit its schema: ${outcome.issues.join('; ')}`
  throw new NuxtQueueError('NQ_VALIDATION', message)
}
