/** The registry of one core, and of several on one server. */

import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type FlowDefinition, open, type QueueConfig, type QueueCore } from '../index.js'
import { createTestRuntime } from '../testing.js'
import { type Home, onEveryBackend, onRedis } from './support/backends.js'
import { newQueue } from './support/dispatchers.js'
import { failure, refuses } from './support/failure.js'
import { until } from './support/redis.js'
import { Warnings } from './support/warnings.js'

const opened: QueueCore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()))
})

const noop = async () => {}

async function openIn(home: Home, registry: QueueConfig['registry'] = {}): Promise<QueueCore> {
  const core = await open({ eventStore: home.options, registry })
  opened.push(core)
  return core
}

/** `load` leads to `train`. */
const flow = (queue: string, name = queue): FlowDefinition => ({
  name,
  entry: { step: 'load', queue },
  steps: { load: { queue, emits: ['loaded'] }, train: { queue, subscribes: ['loaded'] } },
})

/** The registry's events of an instance: their types, with the step or the worker. */
async function recorded(core: QueueCore): Promise<string[]> {
  const events = await core.store.query({ stream: 'nq:registry' })
  const own = events.filter(({ instanceId }) => instanceId === core.registry.instanceId)
  return own.map(({ type, stepName, workerId }) => [type, stepName ?? workerId].filter(Boolean).join(' '))
}

onEveryBackend('the registry', (home) => {
  test('a core is there as long as it is open, and its workers as long as they are', async () => {
    const core = await openIn(home, { version: '1.4.0' })
    const queue = newQueue()
    const { instanceId } = core.registry
    core.flows.define(flow(queue))
    const worker = await core.worker(queue, { load: noop, train: noop }, { workerId: 'w' })
    expect(await core.registry.getQueueHandlers(queue)).toEqual([instanceId])
    expect(await core.registry.listWorkers()).toContainEqual(
      expect.objectContaining({ workerId: 'w', instanceId, state: 'healthy', queue, flows: [queue] }),
    )
    await worker.close()
    expect(await core.registry.getQueueHandlers(queue)).toEqual([])
    expect(await core.registry.getHealthyInstances()).toContain(instanceId)
    const info = (await core.registry.listInstances()).find((known) => known.instanceId === instanceId)
    expect(info).toMatchObject({ state: 'healthy', version: '1.4.0', queues: [] })
    expect(await recorded(core)).toEqual(
      expect.arrayContaining([
        'instance.started',
        'instance.heartbeat',
        'worker.registered w',
        'flow.step.registered load',
        'flow.step.registered train',
        'worker.deregistered w',
      ]),
    )
  })

  test('ids are new for each start, but for those that are given', async () => {
    const ids = await Promise.all([openIn(home), openIn(home), openIn(home, { instanceId: `mine-${home.name}` })])
    const [a, b, mine] = ids.map((core) => core.registry.instanceId)
    expect(a).not.toBe(b)
    expect(mine).toBe(`mine-${home.name}`)
  })

  test('a flow that is defined after its worker was opened is registered, too', async () => {
    const core = await openIn(home)
    const queue = newQueue()
    await core.worker(queue, { load: noop, [`${queue}/train`]: noop })
    expect(await core.registry.getFlow(queue)).toBeNull()
    core.flows.define(flow(queue))
    const found = await core.registry.getFlow(queue)
    expect(found).toMatchObject({
      entry: { step: 'load', queue, instanceId: core.registry.instanceId },
      steps: { load: { role: 'entry', emits: ['loaded'] }, train: { role: 'step', subscribes: ['loaded'] } },
      instances: [core.registry.instanceId],
      versions: [],
      allHealthy: true,
    })
  })

  test('a flow is ready as soon as all its steps are taken', async () => {
    const core = await openIn(home)
    const [queue, other] = [newQueue(), newQueue()]
    const split = flow(queue)
    core.flows.define({ ...split, steps: { ...split.steps, train: { queue: other, subscribes: ['loaded'] } } })
    await core.worker(queue, { load: noop })
    const missing = `no healthy instance takes step "train" of queue "${other}"`
    await refuses(() => core.registry.waitForFlowReady(queue, 30), 'NQ_TIMEOUT', missing)
    const [ready] = await Promise.all([
      core.registry.waitForFlowReady(queue, '20s'),
      core.registry.waitForFlowReady(queue),
      core.worker(other, { train: noop }),
    ])
    expect(Object.keys(ready.steps)).toEqual(['load', 'train'])
    expect(await core.registry.waitForFlowReady(queue, 0)).toEqual(ready)
  })

  test('what is registered by hand is one with the rest, and recorded once', async () => {
    const core = await openIn(home)
    const queue = newQueue()
    const step = { flowName: queue, stepName: 'load', queue, workerId: 'py', role: 'entry' } as const
    for (let n = 0; n < 2; n++) {
      await core.registry.registerWorker({ workerId: 'idle', queue })
      await core.registry.registerStep({ ...step, emits: ['loaded'], version: '2.0.0' })
    }
    expect((await core.registry.getFlow(queue))?.versions).toEqual(['2.0.0'])
    const written = await recorded(core)
    expect(written.filter((event) => event.startsWith('worker.'))).toHaveLength(2)
    expect(written.filter((event) => event.startsWith('flow.'))).toEqual(['flow.step.registered load'])
    const other = () => core.registry.registerStep({ ...step, emits: [], version: '2.0.0' })
    await refuses(other, 'NQ_CONFLICT', 'with another emits; a step that changes needs a new version')
  })

  test('an instance that drains takes no new steps, and ends those that run', async () => {
    const core = await openIn(home)
    const queue = newQueue()
    core.flows.define(flow(queue))
    let end = () => {}
    const begun = new Promise<void>((begin) => {
      void core.worker(queue, {
        load: async () => {
          begin()
          await new Promise<void>((resolve) => {
            end = resolve
          })
        },
        train: noop,
      })
    })
    const first = await core.flows.start(queue)
    await begun
    const drained = core.registry.drain()
    // The queue takes nothing of what comes now, or hands it back.
    const second = await core.flows.start(queue)
    const states = Object.fromEntries(
      (await core.registry.listInstances()).map((info) => [info.instanceId, info.state]),
    )
    expect(states[core.registry.instanceId]).toBe('draining')
    await refuses(() => core.worker(queue, { load: noop }), 'NQ_CLOSED', 'draining')
    end()
    await drained
    expect((await core.flows.status(first.runId))?.steps.load?.status).toBe('completed')
    expect((await core.flows.status(second.runId))?.steps.load?.status).toBe('queued')
    expect((await core.registry.listWorkers()).filter((worker) => worker.queue === queue)).toEqual([])
  })

  test('an event loop that is blocked does not look dead, and is told of', async () => {
    const core = await openIn(home, { heartbeatInterval: 50, heartbeatTimeout: 150 })
    await until(async () => (await recorded(core)).includes('instance.heartbeat'), 'the first heartbeat')
    const from = Date.now()
    while (Date.now() < from + 600);
    const [self] = (await core.registry.listInstances()).filter((info) => info.instanceId === core.registry.instanceId)
    expect(self?.state).toBe('healthy')
    expect(self?.blockedMs).toBeGreaterThan(50)
    await until(async () => {
      const infos = await core.registry.listInstances()
      return infos.some((info) => info.instanceId === core.registry.instanceId && info.blockedMs === undefined)
    }, 'the event loop to be seen running')
  })
})

onRedis('several cores', (home) => {
  test('give the same answers, and see each other go', async () => {
    const [a, b] = await Promise.all([openIn(home), openIn(home)])
    const queue = newQueue()
    for (const core of [a, b]) {
      core.flows.define(flow(queue))
      await core.worker(queue, { load: noop, train: noop })
    }
    const ids = [a.registry.instanceId, b.registry.instanceId].sort()
    for (const core of [a, b]) expect(await core.registry.getQueueHandlers(queue)).toEqual(ids)
    expect(await a.registry.getFlow(queue)).toEqual(await b.registry.getFlow(queue))
    await a.close()
    expect(await b.registry.getQueueHandlers(queue)).toEqual([b.registry.instanceId])
    const gone = (await b.registry.listInstances()).find(({ instanceId }) => instanceId === a.registry.instanceId)
    expect(gone?.state).toBe('left')
  })

  test('go on without the registry, and are back in it when the server is', async () => {
    const core = await openIn(home, { heartbeatInterval: 50, heartbeatTimeout: 5000 })
    await home.server.kill()
    await delay(200)
    await home.server.restart()
    await until(async () => {
      const healthy = await core.registry.getHealthyInstances().catch((): string[] => [])
      return healthy.includes(core.registry.instanceId)
    }, 'the instance to be back')
  })
})

describe('under a clock of a test', () => {
  test('signs of life come by it where they are asked for, and otherwise none', async () => {
    for (const [registry, expected] of [
      [{ heartbeatInterval: 10_000 }, 7],
      [{}, 1],
    ] as const) {
      await using runtime = await createTestRuntime({ registry })
      await runtime.clock.settle()
      await runtime.clock.advance('1m')
      const beats = (await recorded(runtime.core)).filter((event) => event === 'instance.heartbeat')
      expect(beats).toHaveLength(expected)
      expect(await runtime.core.registry.getHealthyInstances()).toEqual([runtime.core.registry.instanceId])
    }
  })

  test('a flow that does not become ready is waited for by it', async () => {
    await using runtime = await createTestRuntime()
    const waiting = failure(() => runtime.core.registry.waitForFlowReady('none', '2h'))
    await runtime.clock.advance('2h')
    expect((await waiting).message).toContain('not ready after 7200000 ms: no instance has registered a step of it')
  })
})

describe('what can not be', () => {
  const bad: Array<[QueueConfig['registry'], string]> = [
    [{ version: '1.x' }, 'registry.version: "1.x" is no version'],
    [{ heartbeatInterval: 0 }, 'registry.heartbeatInterval'],
    [{ heartbeatInterval: -1 }, 'registry.heartbeatInterval'],
    [{ heartbeatTimeout: 0 }, 'registry.heartbeatTimeout'],
    [{ heartbeatTimeout: 'soon' }, 'registry.heartbeatTimeout'],
    [{ heartbeatInterval: 1000, heartbeatTimeout: 1000 }, 'is not longer than registry.heartbeatInterval'],
    [{ instanceId: 'x'.repeat(600) }, 'registry.instanceId'],
  ]
  test.each(bad)('a config with registry: %o', async (registry, message) => {
    await refuses(() => open({ registry: registry ?? {} }), 'NQ_CONFIG', message)
  })

  test('arguments of calls, and none of them is recorded', async () => {
    await using runtime = await createTestRuntime()
    const { registry, flows } = runtime.core
    await runtime.clock.settle()
    const step = { flowName: 'f', stepName: 's', queue: 'q', workerId: 'w', role: 'step' }
    const before = await recorded(runtime.core)
    for (const [call, message] of [
      [() => registry.registerStep({ ...step, role: 'boss' } as never), 'step.role'],
      [() => registry.registerStep({ ...step, version: '1' } as never), '"1" is no version'],
      [() => registry.registerStep({ ...step, queue: '' } as never), 'step.queue'],
      [() => registry.registerStep({ ...step, emits: [7] } as never), 'step.emits[0]'],
      [() => registry.registerStep({ ...step, kind: 'x' } as never), 'no member "kind"'],
      [() => registry.registerWorker({ workerId: 'w' } as never), 'worker.queue'],
      [() => registry.getFlow('f', { strategy: 'newest' as never }), 'strategy'],
      [() => registry.getFlow('f', { version: 'newest' }), '"newest" is no version'],
      [() => registry.getFlow(7 as never), 'name'],
      [() => registry.getQueueHandlers(null as never), 'queue'],
      [() => registry.waitForFlowReady('f', -1), 'timeoutMs'],
      [() => registry.waitForFlowReady('f', Number.NaN), 'timeoutMs'],
    ] as Array<[() => Promise<unknown>, string]>) {
      await refuses(call, 'NQ_VALIDATION', message)
    }
    const tooLong = () => registry.registerWorker({ workerId: 'w'.repeat(600), queue: 'q' })
    await refuses(tooLong, 'NQ_INVALID_EVENT')
    expect(await recorded(runtime.core)).toEqual(before)
    const versioned = { ...flow('q'), steps: { load: { queue: 'q', version: 'v1' } } }
    expect(() => flows.define(versioned)).toThrow('steps.load.version: "v1" is no version')
  })

  test('a worker whose step is otherwise in the same version works, and a warning tells of it', async () => {
    await using runtime = await createTestRuntime({ registry: { version: '1.0.0' } })
    const { core } = runtime
    const warnings = new Warnings()
    core.flows.define(flow('q', 'f'))
    await core.worker('q', { load: noop, train: noop })
    await core.store.append('nq:registry', {
      ...{ type: 'flow.step.registered', instanceId: 'other', workerId: 'w', flowName: 'h', stepName: 'load' },
      data: { queue: 'elsewhere', role: 'entry', version: '1.0.0' },
    })
    core.flows.define(flow('q', 'h'))
    await runtime.clock.settle()
    expect((await core.registry.getFlow('h'))?.instances).toEqual(['other'])
    await until(() => warnings.caught.some(({ message }) => message.includes('with another queue')), 'the warning')
    warnings.stop()
    const { runId } = await core.flows.start('h')
    await runtime.clock.settle()
    expect((await core.flows.status(runId))?.steps.load?.status).toBe('completed')
  })
})
