/**
 * Runs as fixtures: a run that happened, as JSON, to be looked at and executed again in a test.
 */

import type * as surface from '../index.js'
import type { ReplayedStep, Replay as ReplaySurface, RunFixture } from '../testing.js'
import { NuxtQueueError } from './errors.js'
import { invalid } from './query.js'
import { reduceRun, reduceState } from './reduce.js'
import { replayStep } from './replay-step.js'
import { RunState } from './run-state.js'

const FORMAT = 1

/** All of a run as JSON; documented in `testing.d.ts`. */
export async function exportRun(store: surface.EventStore, runId: string): Promise<RunFixture> {
  const stream = RunState.streamOf(store.state(runId) as unknown as RunState)
  const events = await store.query({ stream, consistency: 'strong' })
  if (events.length === 0) {
    throw new NuxtQueueError('NQ_NOT_FOUND', `There is no run ${JSON.stringify(runId)}: ${stream} holds no event.`)
  }
  return { format: FORMAT, runId, flowName: reduceRun(events).flowName, events }
}

/** Looks at a run from its fixture; documented in `testing.d.ts`. */
export function replay(fixture: RunFixture): Replay {
  return new Replay(checkFixture(fixture))
}

class Replay implements Pick<ReplaySurface, keyof ReplaySurface> {
  readonly status: surface.RunStatus
  readonly state: Record<string, unknown>
  readonly events: surface.EventRecord[]

  constructor(fixture: RunFixture) {
    this.events = fixture.events as surface.EventRecord[]
    this.status = reduceRun(this.events)
    this.state = reduceState(this.events)
  }

  at(point: surface.Point): Record<string, unknown> {
    return reduceState(this.events, { at: point })
  }

  async step(name: string, handler: surface.StepHandler): Promise<ReplayedStep> {
    if (typeof name !== 'string') throw invalid('name', name, 'the name of a step')
    if (typeof handler !== 'function') throw invalid('handler', handler, 'a function')
    return await replayStep(this.events, name, handler)
  }
}

function checkFixture(fixture: RunFixture): RunFixture {
  if (typeof fixture !== 'object' || fixture === null) throw invalid('fixture', fixture, 'what exportRun gave')
  const { format, runId, events } = fixture
  if (format !== FORMAT) throw invalid('fixture.format', format, `${FORMAT}; export the run again`)
  if (typeof runId !== 'string') throw invalid('fixture.runId', runId, 'the id of a run')
  if (!Array.isArray(events) || events.length === 0) throw invalid('fixture.events', events, 'the events of a run')
  return fixture
}
