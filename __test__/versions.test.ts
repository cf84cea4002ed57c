/** Runs and the versions of the code that they run in, as one process sees it. */

import { describe, expect, test } from 'vitest'
import type { QueueCore } from '../index.js'
import { createTestRuntime, type VirtualClock } from '../testing.js'
import { refuses } from './support/failure.js'

const noop = async () => {}

/** Defines a flow of one step. */
function define({ flows }: QueueCore, version?: string): void {
  flows.define({
    name: 'f',
    entry: { step: 'a', queue: 'q' },
    steps: { a: { queue: 'q', ...(version && { version }) } },
  })
}

async function statusOf({ flows }: QueueCore, runId: string) {
  return (await flows.status(runId))?.steps.a?.status
}

async function unavailable({ store }: QueueCore, runId: string) {
  const types = ['queue.unavailable' as const]
  return await store.query({ stream: `nq:flow:${runId}`, types })
}

/** Starts a run, and lets so much time pass. */
async function start({ core, clock }: { core: QueueCore; clock: VirtualClock }, version?: string): Promise<string> {
  const { runId } = await core.flows.start('f', {}, version === undefined ? {} : { version })
  await clock.settle()
  return runId
}

describe('a run', () => {
  test('keeps the version that it was started with', async () => {
    await using runtime = await createTestRuntime({ registry: { version: '1.4.0' } })
    define(runtime.core)
    await runtime.core.worker('q', { a: noop })
    for (const [version, status] of [
      [undefined, 'completed'],
      ['1.0.0', 'completed'],
      ['2.0.0', 'queued'],
    ] as const) {
      expect(await statusOf(runtime.core, await start(runtime, version))).toBe(status)
    }
    await refuses(() => runtime.core.flows.start('f', {}, { version: 'next' }), 'NQ_VALIDATION', '"next" is no version')
  })

  test.each([
    ['strict', '1.4.1', 'queued'],
    ['strict', '1.4.0', 'completed'],
    ['latest', '1.9.0', 'completed'],
    ['latest', '2.0.0', 'queued'],
    ['mixed', '2.0.0', 'completed'],
  ] as const)('that a worker of the strategy %s finds in version %s is %s', async (strategy, version, status) => {
    await using runtime = await createTestRuntime({ registry: { version: '1.4.0', strategy } })
    define(runtime.core)
    await runtime.core.worker('q', { a: noop })
    expect(await statusOf(runtime.core, await start(runtime, version))).toBe(status)
  })

  test('says that nobody has its version, and goes on as soon as somebody does', async () => {
    await using runtime = await createTestRuntime({ registry: { instanceId: 'old', version: '1.4.0' } })
    const { core, clock } = runtime
    define(core)
    await core.worker('q', { a: noop })
    const runId = await start(runtime, '2.0.0')
    const [noted, ...more] = await unavailable(core, runId)
    expect(more).toEqual([])
    expect(noted).toMatchObject({ stepName: 'a', queue: 'q', data: { version: '2.0.0' } })
    const reason = noted?.data.reason ?? ''
    expect(reason).toBe(
      'step "a" of queue "q" is to run in version 2.0.0, which goes with none of those that healthy instances have: old (1.4.0)',
    )
    expect(await core.flows.explain(runId)).toContain(`\n! ${reason}`)
    await clock.advance('1m')
    expect(await unavailable(core, runId)).toHaveLength(1)
    core.flows.define(
      { name: 'f', entry: { step: 'a', queue: 'q' }, steps: { a: { queue: 'q', version: '2.1.0' } } },
      { replace: true },
    )
    await clock.advance('10s')
    expect(await statusOf(core, runId)).toBe('completed')
    expect(await core.flows.explain(runId)).not.toContain('\n!')
  })
})

describe('a step that nobody takes', () => {
  test('is noted a moment after it was handed over, and explained at once', async () => {
    await using runtime = await createTestRuntime()
    const { core, clock } = runtime
    define(core)
    const runId = await start(runtime)
    const reason = 'no healthy instance takes step "a" of queue "q"'
    expect(await core.flows.explain(runId)).toContain(`\n! ${reason}`)
    expect(await unavailable(core, runId)).toEqual([])
    await clock.advance('1h')
    expect((await unavailable(core, runId)).map(({ data }) => data)).toEqual([{ reason }])
    await core.worker('q', { a: noop })
    await clock.settle()
    expect(await statusOf(core, runId)).toBe('completed')
  })

  test('is not noted if somebody comes in time', async () => {
    await using runtime = await createTestRuntime()
    define(runtime.core)
    const runId = await start(runtime)
    await runtime.clock.advance(4000)
    await runtime.core.worker('q', { a: noop })
    await runtime.clock.advance('1m')
    expect(await statusOf(runtime.core, runId)).toBe('completed')
    expect(await unavailable(runtime.core, runId)).toEqual([])
  })
})
