// The state of a run and the reducers.
import { expectTypeOf } from 'expect-type'
import {
  type EventRecord,
  type EventStore,
  type HistoryEntry,
  type Point,
  RunState,
  type RunStatus,
  reduceRun,
  reduceState,
  type StateDiff,
  type UntypedRecord,
} from 'nuxt-queue-core'

interface Training {
  epoch: number
  loss: number | null
  status: 'training' | 'done'
}
declare const store: EventStore
const state = store.state<Training>('42', { flowName: 'train', stepName: 'fit' })
expectTypeOf(state).toEqualTypeOf<RunState<Training>>()

expectTypeOf(await state.get('epoch')).toEqualTypeOf<number | undefined>()
expectTypeOf(await state.get('loss', { consistency: 'strong' })).toEqualTypeOf<number | null | undefined>()
expectTypeOf(await state.getAll()).toEqualTypeOf<Partial<Training>>()
expectTypeOf(await state.getAll({ consistency: 'cached' })).toEqualTypeOf<Partial<Training>>()
expectTypeOf(await state.has('status')).toEqualTypeOf<boolean>()
expectTypeOf(await state.has('status', { consistency: 'strong' })).toEqualTypeOf<boolean>()
await state.set('status', 'done', { ttl: 60_000 })
await state.setBatch({ epoch: 2, loss: null })
expectTypeOf(await state.patch('epoch', (epoch) => (epoch ?? 0) + 1)).toEqualTypeOf<number>()
expectTypeOf(await state.list('e')).toEqualTypeOf<string[]>()
expectTypeOf(await state.list(undefined, { consistency: 'strong' })).toEqualTypeOf<string[]>()
expectTypeOf(await state.snapshot()).toEqualTypeOf<EventRecord<'state.snapshot'>>()
// @ts-expect-error no such key
await state.get('epochs')
// @ts-expect-error the wrong type of value
await state.set('epoch', '2')
// @ts-expect-error the wrong literal
await state.set('status', 'finished')
// @ts-expect-error there are two consistencies
await state.getAll({ consistency: 'eventual' })
// @ts-expect-error no such key in a batch
await state.setBatch({ epochs: 2 })
// @ts-expect-error the ttl is a number of milliseconds
await state.set('epoch', 2, { ttl: '1h' })
// @ts-expect-error a patch keeps the type
await state.patch('epoch', () => 'two')
// @ts-expect-error states come from a store
new RunState()

// Without a type argument any key holds anything.
const loose = store.state('42')
expectTypeOf(await loose.get('anything')).toEqualTypeOf<unknown>()
await loose.set('anything', { deep: [1] })

// Time travel.
for (const point of [new Date(), '2025-11-05T10:00:03Z', 1762336803000, '1762336803000-0', { id: '1-0' }]) {
  expectTypeOf(point).toExtend<Point>()
  expectTypeOf(await state.at(point)).toEqualTypeOf<Partial<Training>>()
}
const diff = await state.diff('1-0', new Date())
expectTypeOf(diff).toEqualTypeOf<StateDiff>()
expectTypeOf(diff.changed.epoch).toExtend<{ from: unknown; to: unknown } | undefined>()
expectTypeOf(diff.events).toEqualTypeOf<Readonly<Record<string, string>>>()
expectTypeOf(await state.history('epoch')).toEqualTypeOf<HistoryEntry[]>()
expectTypeOf(await state.history()).toEqualTypeOf<HistoryEntry[]>()
// @ts-expect-error a point is no object without an id
await state.at({ time: 1 })

// Reducers take records of any kind, frozen lists too.
declare const records: readonly EventRecord[]
declare const stateRecords: EventRecord<'state.set' | 'state.delete'>[]
declare const foreign: UntypedRecord[]
expectTypeOf(reduceState(records)).toEqualTypeOf<Record<string, unknown>>()
reduceState(stateRecords, { at: '1-0' })
reduceState(foreign, { at: new Date() })
reduceState([{ type: 'state.set', data: { key: 'a', value: 1 } }])
expectTypeOf(reduceRun(records)).toEqualTypeOf<RunStatus>()
reduceRun(foreign)
// @ts-expect-error an event has a type
reduceState([{ data: { key: 'a', value: 1 } }])
// @ts-expect-error the status of a run needs ids and times
reduceRun([{ type: 'flow.started', data: {} }])
