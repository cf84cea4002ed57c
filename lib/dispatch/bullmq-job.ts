/**
 * Steps as BullMQ's jobs, and back.
 */

import type { Job } from 'bullmq'
import type { StepJob, TakenJob } from './dispatcher.js'

/** What a job carries: ours, or the original module's, whose input lies beside `flowId` and `flowName`. */
export type JobData = Partial<StepJob['data']> & { flowId?: string; [key: string]: unknown }

/** The data of a job that the original module can read, too: it looks for `flowId`. */
export function packData(data: StepJob['data']): JobData {
  return { ...data, flowId: data.runId }
}

/** A step's job, whoever wrote it. */
export function unpackJob(job: Job<JobData>): TakenJob {
  const { id = '', name, queueName: queue, opts, attemptsMade } = job
  const given: JobData = typeof job.data === 'object' && job.data !== null ? job.data : { input: job.data }
  const { runId, flowId, flowName, attempt, ...rest } = given
  const data = {
    runId: runId ?? flowId ?? id,
    flowName: flowName ?? name,
    input: runId !== undefined || 'input' in rest ? rest.input : rest,
    attempt: attempt ?? attemptsMade + 1,
    // In a job of others it is a part of the input.
    ...(runId !== undefined && typeof rest.traceparent === 'string' && { traceparent: rest.traceparent }),
  }
  const taken: TakenJob = { queue, name, jobId: id, data }
  // Ours leave it to the engine.
  if (runId !== undefined) return taken
  taken.isForeign = true
  if (opts.attempts !== undefined) taken.maxAttempts = opts.attempts
  return taken
}
