// The original's internals: each has the shape that its callers rely on, and may be given to them.
import { expectTypeOf } from 'expect-type'
import { open } from 'nuxt-queue-core'
import {
  createEventStoreAdapter,
  createEventStoreFactory,
  createRunLogger,
  createStateProvider,
  createWorkerContext,
  type EventRecord,
} from 'nuxt-queue-core/compat'

/** As the callers declare it. */
interface OriginalRecord {
  id: string
  ts: string
  type: string
  runId: string
  flowName: string
  stepName?: string
  stepId?: string
  attempt?: number
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  data?: any
}

interface OriginalAdapter {
  append(subject: string, event: Omit<OriginalRecord, 'id' | 'ts'>): Promise<OriginalRecord>
  read(
    subject: string,
    options?: { fromId?: string; limit?: number; direction?: 'forward' | 'backward' },
  ): Promise<OriginalRecord[]>
  subscribe(subject: string, onEvent: (event: OriginalRecord) => void): Promise<{ unsubscribe(): void }>
  indexAdd?(key: string, id: string, score: number): Promise<void>
  indexRead?(key: string, options?: { offset?: number; limit?: number }): Promise<Array<{ id: string; score: number }>>
  deleteStream?(subject: string): Promise<void>
  deleteByPattern?(pattern: string): Promise<number>
  deleteIndex?(key: string): Promise<void>
  close(): Promise<void>
}

interface OriginalFactory {
  adapter: OriginalAdapter
  names: { flow(runId: string): string; flowIndex(flowName: string): string }
  stream(name: string): Pick<OriginalAdapter, 'append' | 'read' | 'subscribe'> & { name: string }
  start(): void
  stop(): void
}

interface OriginalProvider {
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  get<T = any>(key: string): Promise<T | null>
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  set<T = any>(key: string, value: T, options?: { ttl?: number }): Promise<void>
  delete(key: string): Promise<void>
  list(prefix: string, options?: { limit?: number }): Promise<{ keys: string[] }>
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  patch<T = any>(key: string, update: (previous: T | null) => T, options?: { retries?: number }): Promise<T>
}

interface OriginalContext {
  jobId?: string
  queue?: string
  flowId?: string
  flowName?: string
  stepName?: string
  stepId?: string
  attempt?: number
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  logger: { log(level: 'debug' | 'info' | 'warn' | 'error', message: string, metadata?: any): void }
  state: Pick<OriginalProvider, 'get' | 'set' | 'delete'>
  // biome-ignore lint/suspicious/noExplicitAny: as the original has it
  flow: { startFlow(name: string, payload?: any): Promise<any>; emit(name: string, payload?: any): Promise<any> }
  provider: unknown
  registry: unknown
}

const core = await open()
const redis = { adapter: 'redis', redis: { url: 'redis://localhost' } } as const

expectTypeOf<EventRecord>().toEqualTypeOf<OriginalRecord>()
expectTypeOf(createEventStoreAdapter(redis)).toExtend<OriginalAdapter>()
expectTypeOf(createEventStoreAdapter({ eventStore: redis, state: { provider: 'dual' } })).toExtend<OriginalAdapter>()
expectTypeOf(createEventStoreAdapter(core.store)).toExtend<OriginalAdapter>()
expectTypeOf(createEventStoreAdapter(core)).toExtend<OriginalAdapter>()
expectTypeOf(createEventStoreAdapter()).toExtend<OriginalAdapter>()
const wiring = { start() {}, stop() {} }
const createWiringRegistry = (_: { adapter: OriginalAdapter; names: OriginalFactory['names'] }) => wiring
expectTypeOf(createEventStoreFactory(redis, { createWiringRegistry })).toExtend<OriginalFactory>()
expectTypeOf(createStateProvider(core.store)).toExtend<OriginalProvider>()
expectTypeOf(createStateProvider(redis, { provider: 'redis' })).toExtend<OriginalProvider>()

const logger = createRunLogger(core, { flowId: '42', stepName: 's' })
expectTypeOf(logger).toExtend<OriginalContext['logger']>()
createRunLogger(core.store, { runId: '42' }, { logging: { routing: 'console' } })
// @ts-expect-error nobody would close what a configuration opens
createRunLogger(redis, { runId: '42' })

const ctx = createWorkerContext(core, { jobId: 'j', queue: 'q', flowId: '42', flowName: 'f', stepName: 's' })
expectTypeOf(ctx).toExtend<OriginalContext>()
expectTypeOf(ctx.runId).toEqualTypeOf<string>()
expectTypeOf(await ctx.state.get('n')).toBeAny()
expectTypeOf(await ctx.state.get<number>('n')).toEqualTypeOf<number | null>()
expectTypeOf(await ctx.state.getAll()).toEqualTypeOf<Record<string, unknown>>()
expectTypeOf(await ctx.flow.await<{ ok: boolean }>('approval')).toEqualTypeOf<{ ok: boolean }>()
expectTypeOf(await ctx.await.time('1h')).toEqualTypeOf<void>()
expectTypeOf(ctx.await.getWebhookUrl()).toEqualTypeOf<string>()

// @ts-expect-error there are three homes of state
createStateProvider(core, { provider: 'mongo' })
// @ts-expect-error a job has an id
createWorkerContext(core, { queue: 'q', flowId: '42' })
// @ts-expect-error two directions
await createEventStoreAdapter().read('s', { direction: 'up' })
// @ts-expect-error an event has a type
await createEventStoreAdapter().append('s', { data: 1 })
