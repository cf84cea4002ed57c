// query, queryGlobal, iterate, subscribe: `types` decides what the records are.
import { expectTypeOf } from 'expect-type'
import type {
  EventRecord,
  EventStore,
  EventType,
  GlobalQuery,
  MatchingType,
  Query,
  StreamInfo,
  Subscription,
  TypePattern,
} from 'nuxt-queue-core'

declare const store: EventStore
const stream = 'nq:flow:42'
type StateType = 'state.set' | 'state.delete' | 'state.batch' | 'state.snapshot'

// Exact names, families, both, none.
expectTypeOf(await store.query({ stream, types: ['state.set'] })).toEqualTypeOf<EventRecord<'state.set'>[]>()
expectTypeOf(await store.query({ stream, types: ['state.*'] })).toEqualTypeOf<EventRecord<StateType>[]>()
expectTypeOf(await store.query({ stream, types: ['state.*', 'flow.failed'] })).toEqualTypeOf<
  EventRecord<StateType | 'flow.failed'>[]
>()
expectTypeOf(await store.query({ stream })).toEqualTypeOf<EventRecord[]>()
expectTypeOf<MatchingType<'flow.*'>>().toExtend<`flow.${string}`>()
expectTypeOf<'flow.step.started'>().toExtend<MatchingType<'flow.*'>>()
expectTypeOf<MatchingType<'flow.step.*'>>().toEqualTypeOf<Extract<EventType, `flow.step.${string}`>>()
expectTypeOf<'flow.step.*'>().toExtend<TypePattern>()

const set = (await store.query({ stream, types: ['state.set', 'state.delete'], limit: 1, order: 'desc' })).at(0)
expectTypeOf(set?.data.key).toEqualTypeOf<string | undefined>()
if (set?.type === 'state.set') expectTypeOf(set.data.value).toEqualTypeOf<unknown>()

// @ts-expect-error no such type
await store.query({ stream, types: ['state.sett'] })
// @ts-expect-error no such family
await store.query({ stream, types: ['stat.*'] })
// @ts-expect-error a family ends in `.*`
await store.query({ stream, types: ['state*'] })
// @ts-expect-error one bad name among good ones
await store.query({ stream, types: ['state.set', 'nothing'] })
// @ts-expect-error the stream is missing
await store.query({ types: ['state.set'] })
// @ts-expect-error the limit is a number
await store.query({ stream, limit: '5' })
// @ts-expect-error there are two orders
await store.query({ stream, order: 'newest' })
// @ts-expect-error a misspelt option
await store.query({ stream, since: '1-0' })
// @ts-expect-error many streams are read by queryGlobal
await store.query({ pattern: 'nq:flow:*' })

// Times in every form.
await store.query({ stream, startTime: new Date(0), endTime: '2025-11-05T10:00:03Z', after: '0-0', before: '9-0' })
await store.query({ stream, startTime: 0, consistency: 'strong' })

// Names known only at run time, a query kept in a variable, an explicit type, generic code.
declare const names: string[]
expectTypeOf(await store.query({ stream, types: names })).toEqualTypeOf<EventRecord[]>()
const kept: Query = { stream, types: names }
expectTypeOf(await store.query(kept)).toEqualTypeOf<EventRecord[]>()
const states = ['state.set', 'state.delete'] as const
expectTypeOf(await store.query({ stream, types: states })).toEqualTypeOf<EventRecord<'state.set' | 'state.delete'>[]>()
expectTypeOf(await store.query<'log.info'>({ stream, types: ['log.info'] })).toEqualTypeOf<EventRecord<'log.info'>[]>()
export function read<T extends EventType>(type: T): Promise<EventRecord<T>[]> {
  return store.query({ stream, types: [type] })
}
expectTypeOf(await store.queryText(kept)).toEqualTypeOf<string>()

// The filter of a global query sees the same records.
const failed = await store.queryGlobal({
  pattern: 'nq:flow:*',
  types: ['flow.failed'],
  filter: (event) => event.data.error.includes('OutOfMemory'),
})
expectTypeOf(failed).toEqualTypeOf<EventRecord<'flow.failed'>[]>()
const changed = await store.queryGlobal({
  pattern: '*',
  types: ['state.*'],
  filter: (event) => event.type !== 'state.snapshot',
})
expectTypeOf(changed).toEqualTypeOf<EventRecord<StateType>[]>()
expectTypeOf(await store.queryGlobal({ pattern: '*', filter: (event) => event.runId === '42' })).toEqualTypeOf<
  EventRecord[]
>()
expectTypeOf(
  await store.queryGlobal({ pattern: '*', types: names, filter: (event: EventRecord) => event.id > '' }),
).toEqualTypeOf<EventRecord[]>()
// @ts-expect-error a failure has no key
await store.queryGlobal({ pattern: '*', types: ['flow.failed'], filter: (event) => event.data.key === 'a' })
// @ts-expect-error a filter answers at once
await store.queryGlobal({ pattern: '*', filter: async () => true })

// iterate takes both kinds of query.
for await (const event of store.iterate({ stream, types: ['log.error'] }))
  expectTypeOf(event).toEqualTypeOf<EventRecord<'log.error'>>()
for await (const event of store.iterate({ pattern: '*', types: ['state.*'] }))
  expectTypeOf(event).toEqualTypeOf<EventRecord<StateType>>()
for await (const event of store.iterate({
  pattern: '*',
  types: ['flow.failed'],
  filter: (event) => event.data.error === '',
})) {
  expectTypeOf(event.data.error).toEqualTypeOf<string>()
}
declare const anyQuery: Query | GlobalQuery
for await (const event of store.iterate(anyQuery)) expectTypeOf(event).toEqualTypeOf<EventRecord>()
// @ts-expect-error no such type
store.iterate({ stream, types: ['state.sett'] })
// @ts-expect-error neither a stream nor a pattern
store.iterate({ types: ['state.set'] })

// subscribe: the handler gets the union, the options are typed.
const subscription = await store.subscribe(
  'nq:flow:*',
  async (event) => {
    if (event.type === 'flow.failed') expectTypeOf(event.data.error).toEqualTypeOf<string>()
  },
  {
    after: '0-0',
    onCaughtUp: () => {},
    onError: (error, event) => {
      expectTypeOf(error).toEqualTypeOf<unknown>()
      expectTypeOf(event).toEqualTypeOf<EventRecord>()
    },
  },
)
expectTypeOf(subscription).toEqualTypeOf<Subscription>()
// @ts-expect-error a handler is a function
await store.subscribe('nq:flow:*', { handle() {} })
// @ts-expect-error a misspelt option
await store.subscribe('nq:flow:*', () => {}, { from: '0-0' })

for await (const info of store.streams('nq:flow:*')) expectTypeOf(info).toEqualTypeOf<StreamInfo>()
expectTypeOf(await store.deleteStream(stream)).toEqualTypeOf<boolean>()
expectTypeOf(await store.deleteStreams('nq:flow:*')).toEqualTypeOf<number>()
expectTypeOf(await store.indexRead('nq:flows:train', { limit: 5 })).toEqualTypeOf<
  Array<{ id: string; score: number }>
>()
