/** The types of the registry. */

import { expectTypeOf, test } from 'vitest'
import {
  type InstanceInfo,
  type InstanceState,
  open,
  type QueueCore,
  type RegisteredFlow,
  type StepRegistration,
  WorkerRegistry,
} from '../../index.js'

declare const core: QueueCore

test('a core has a registry', () => {
  expectTypeOf(core.registry).toEqualTypeOf<WorkerRegistry>()
  expectTypeOf(core.registry.instanceId).toEqualTypeOf<string>()
  // @ts-expect-error: it is the core's
  core.registry.instanceId = 'other'
  // @ts-expect-error: there is none without a core
  new WorkerRegistry()
})

test('its answers', () => {
  expectTypeOf(core.registry.getFlow('order')).resolves.toEqualTypeOf<RegisteredFlow | null>()
  expectTypeOf(core.registry.waitForFlowReady('order', '30s')).resolves.toEqualTypeOf<RegisteredFlow>()
  expectTypeOf(core.registry.getQueueHandlers('orders')).resolves.toEqualTypeOf<string[]>()
  expectTypeOf(core.registry.listInstances()).resolves.toEqualTypeOf<InstanceInfo[]>()
  expectTypeOf<InstanceInfo['state']>().toEqualTypeOf<InstanceState>()
  expectTypeOf<InstanceInfo['blockedMs']>().toEqualTypeOf<number | undefined>()
  expectTypeOf<RegisteredFlow['steps'][string]['instances']>().toEqualTypeOf<string[]>()
  expectTypeOf(core.registry.drain()).resolves.toEqualTypeOf<void>()
})

test('what it is told', () => {
  const step: StepRegistration = { flowName: 'order', stepName: 'pack', queue: 'orders', workerId: 'w', role: 'step' }
  core.registry.registerStep(step)
  core.registry.registerWorker({ workerId: 'w', queue: 'orders' })
  core.registry.getFlow('order', { version: '1.0.0', strategy: 'strict' })
  // @ts-expect-error: no such role
  core.registry.registerStep({ ...step, role: 'boss' })
  // @ts-expect-error: no such strategy
  core.registry.getFlow('order', { strategy: 'newest' })
  // @ts-expect-error: a worker has a queue
  core.registry.registerWorker({ workerId: 'w' })
  // @ts-expect-error: not a number
  open({ registry: { version: 2 } })
})

test('its events', () => {
  core.store.append('nq:registry', { type: 'instance.draining' })
  core.store.append('nq:registry', { type: 'instance.heartbeat', data: { blockedMs: 7 } })
  // @ts-expect-error: milliseconds are a number
  core.store.append('nq:registry', { type: 'instance.heartbeat', data: { blockedMs: 'long' } })
})
