// Event types: the vocabulary, its unions, and what can't be written down.
import { expectTypeOf } from 'expect-type'
import type { EventMap, EventRecord, EventType, LogData, NewEvent, UntypedEvent, UntypedRecord } from 'nuxt-queue-core'

// The whole vocabulary is there, aliases included.
type Vocabulary =
  | `flow.${'started' | 'completed' | 'failed' | 'canceled' | 'stalled'}`
  | `flow.step.${'started' | 'completed' | 'failed' | 'retry' | 'paused' | 'resumed' | 'registered'}`
  | `state.${'set' | 'delete' | 'batch' | 'snapshot'}`
  | `log.${'debug' | 'info' | 'warn' | 'error'}`
  | `trigger.${'registered' | 'updated' | 'enabled' | 'disabled' | 'removed' | 'subscribed' | 'unsubscribed'}`
  | `trigger.${'fired' | 'processed' | 'skipped' | 'failed' | 'awaiting' | 'resolved' | 'timeout' | 'canceled'}`
  | `worker.${'registered' | 'heartbeat' | 'deregistered'}`
  | `instance.${'started' | 'heartbeat' | 'shutdown'}`
  | 'emit'
  | 'flow.start'
  | 'step.started'
  | 'step.completed'
  | 'step.failed'
  | 'step.retry'
  | 'log'
expectTypeOf<Exclude<Vocabulary, EventType>>().toBeNever()

// Payloads.
expectTypeOf<EventMap['state.set']>().toEqualTypeOf<{ key: string; value: unknown; expiresAt?: string }>()
expectTypeOf<EventMap['log.warn']>().toEqualTypeOf<LogData>()
expectTypeOf<EventMap['flow.start']>().toEqualTypeOf<EventMap['flow.started']>()
expectTypeOf<EventMap['step.failed']>().toEqualTypeOf<EventMap['flow.step.failed']>()

// A new event: payload and envelope of its type.
const set: NewEvent<'state.set'> = { type: 'state.set', runId: '42', attempt: 1, data: { key: 'epoch', value: 1 } }
expectTypeOf(set.data.key).toEqualTypeOf<string>()
expectTypeOf(set.type).toEqualTypeOf<'state.set'>()
expectTypeOf(set.runId).toEqualTypeOf<string | undefined>()
const emitted: NewEvent = { type: 'emit', data: { name: 'data.ready', rows: 150 } }
const batch: NewEvent = {
  type: 'state.batch',
  data: {
    operations: [
      { type: 'set', key: 'a', value: null },
      { type: 'delete', key: 'b' },
    ],
  },
}

// @ts-expect-error the payload belongs to another type
const mixed: NewEvent = { type: 'state.set', data: { level: 'info', message: 'hello' } }
// @ts-expect-error a payload is missing
const bare: NewEvent = { type: 'flow.failed' }
// @ts-expect-error there is no such type
const unknownType: NewEvent = { type: 'state.sett', data: { key: 'a', value: 1 } }
// @ts-expect-error the attempt is a number
const attempt: NewEvent = { type: 'flow.step.started', attempt: '1', data: {} }
const typo: NewEvent<'log.info'> = {
  type: 'log.info',
  // @ts-expect-error a misspelt envelope field
  runID: '42',
  data: { level: 'info', message: 'hello' },
}

// Where the payload may be undefined, `data` may be left out; the record says so, too.
const heartbeat: NewEvent<'worker.heartbeat'> = { type: 'worker.heartbeat', workerId: 'w1' }
expectTypeOf<EventRecord<'worker.heartbeat'>['data']>().toEqualTypeOf<{ queue?: string } | undefined>()
expectTypeOf<EventRecord<'flow.started'>['data']>().toEqualTypeOf<EventMap['flow.started']>()

// Records are a discriminated union.
declare const record: EventRecord
if (record.type === 'state.set') {
  expectTypeOf(record).toEqualTypeOf<EventRecord<'state.set'>>()
  expectTypeOf(record.data.key).toEqualTypeOf<string>()
}
switch (record.type) {
  case 'log.info':
  case 'log.error':
    expectTypeOf(record.data).toEqualTypeOf<LogData>()
    break
  case 'flow.failed':
    expectTypeOf(record.data.failedStep).toEqualTypeOf<string | undefined>()
    break
}
expectTypeOf(record.id).toEqualTypeOf<string>()
expectTypeOf(record.stream).toEqualTypeOf<string>()
expectTypeOf(record.timestamp).toEqualTypeOf<string>()
// @ts-expect-error `data` has a key only after a check of the type
record.data.key
// @ts-expect-error there is no such type to compare with
if (record.type === 'state.sett') record.id

// One type at a time, or several.
expectTypeOf<EventRecord<'state.set'>['data']>().toEqualTypeOf<EventMap['state.set']>()
expectTypeOf<EventRecord<'state.set' | 'log.info'>>().toEqualTypeOf<
  EventRecord<'state.set'> | EventRecord<'log.info'>
>()
expectTypeOf<EventRecord<'state.set'>>().toExtend<EventRecord>()
expectTypeOf<EventRecord<'state.set'>>().toExtend<NewEvent<'state.set'>>()
// @ts-expect-error no such type
type Unknown = EventRecord<'state.sett'>

// Any record is an untyped one; the other way takes a cast.
expectTypeOf<EventRecord>().toExtend<UntypedRecord>()
expectTypeOf<NewEvent>().toExtend<UntypedEvent>()
expectTypeOf<UntypedEvent>().not.toExtend<NewEvent>()

export type { Unknown }
export { attempt, bare, batch, emitted, heartbeat, mixed, typo, unknownType }
