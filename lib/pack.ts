/**
 * Appends as text for the native side: one line an event, columns separated by tabs (see `src/node/submit.rs`).
 */

import type { AppendOptions, EventEnvelope } from '../index.js'
import { NuxtQueueError, shown } from './errors.js'
import { toJson } from './json.js'
import { toId } from './time.js'

/** An event of any type, as it comes from a caller. */
export type AnyEvent = EventEnvelope & { type: string; data?: unknown }

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for; the tab separates
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/** The members of an event. Records may be appended again: what the store assigns is passed over. */
const MEMBERS: Record<string, true> = {
  // biome-ignore lint/suspicious/noExplicitAny: no inherited members
  __proto__: null as any,
  type: true,
  data: true,
  runId: true,
  flowName: true,
  stepName: true,
  stepId: true,
  attempt: true,
  instanceId: true,
  workerId: true,
  queue: true,
  triggerName: true,
  correlationId: true,
  causationId: true,
  id: true,
  stream: true,
  timestamp: true,
}

/** One append of one event. `ts`: what its writer notes as its time, ISO 8601. */
export function packAppend(stream: string, event: AnyEvent, options: AppendOptions | undefined, ts = ''): string {
  return `${packHead(stream, options)}\t${packEvent(event, ts)}`
}

/** One append of many events. */
export function packBatch(stream: string, events: readonly AnyEvent[], options: AppendOptions | undefined): string {
  if (!Array.isArray(events))
    throw new NuxtQueueError('NQ_VALIDATION', `events is ${shown(events)}; expected an array.`)
  if (events.length === 0) throw new NuxtQueueError('NQ_VALIDATION', 'The batch is empty; append at least one event.')
  const [first, ...rest] = events as [AnyEvent, ...AnyEvent[]]
  const lines = rest.map((event) => `\t\t\t${packEvent(event)}`)
  try {
    return [packAppend(stream, first, options), ...lines].join('\n')
  } catch (cause) {
    throw isTooLong(cause) ? tooLong(cause) : cause
  }
}

/** Whether a string would have been longer than a string can be. */
function isTooLong(cause: unknown): boolean {
  return cause instanceof RangeError && cause.message.includes('string length')
}

function tooLong(cause: unknown): NuxtQueueError {
  return new NuxtQueueError('NQ_TOO_LARGE', 'The append is larger than a text can be; append less at a time.', {
    cause,
  })
}

/** The name that was checked last: a run appends to one stream again and again. */
let checkedStream: string | undefined

function packHead(stream: string, options: AppendOptions | undefined): string {
  if (stream !== checkedStream) {
    checkText(stream, 'The stream name')
    checkedStream = stream
  }
  if (options === undefined) return `${stream}\t\t`
  if (typeof options !== 'object' || options === null) {
    throw new NuxtQueueError('NQ_VALIDATION', `The append options are ${shown(options)}; expected an object.`)
  }
  const { expectedLastId, idempotencyKey, ...unknown } = options
  for (const name in unknown)
    throw new NuxtQueueError(
      'NQ_VALIDATION',
      `There is no append option ${shown(name)}; known are expectedLastId, idempotencyKey.`,
    )
  if (idempotencyKey !== undefined) checkText(idempotencyKey, 'The idempotencyKey', 'NQ_VALIDATION')
  return `${stream}\t${expectedLastId === undefined ? '' : toId(expectedLastId, 'expectedLastId')}\t${idempotencyKey ?? ''}`
}

function packEvent(event: AnyEvent, ts = ''): string {
  try {
    return packMembers(event, ts)
  } catch (cause) {
    if (cause instanceof NuxtQueueError) throw cause
    if (isTooLong(cause)) throw tooLong(cause)
    // A getter or a proxy of the caller's.
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new NuxtQueueError('NQ_INVALID_EVENT', `The event can't be read (${reason}).`, { cause })
  }
}

function packMembers(event: AnyEvent, ts: string): string {
  if (typeof event !== 'object' || event === null) {
    throw new NuxtQueueError('NQ_INVALID_EVENT', `The event is ${shown(event)}; expected { type, data, … }.`)
  }
  checkMembers(event)
  const { type, data } = event
  if (typeof type !== 'string' || type === '') checkText(type, 'The event type')
  const columns = `${type}\t${ts}\t${column(event.runId, 'runId')}\t${column(event.flowName, 'flowName')}\t${column(event.stepName, 'stepName')}\t${column(event.stepId, 'stepId')}\t${attempt(event.attempt)}\t${column(event.instanceId, 'instanceId')}\t${column(event.workerId, 'workerId')}\t${column(event.queue, 'queue')}\t${column(event.triggerName, 'triggerName')}\t${column(event.correlationId, 'correlationId')}\t${column(event.causationId, 'causationId')}\t`
  // All columns at once; the native side finds a tab too many. Only then it is asked which one it was.
  if (CONTROL.test(columns) || !columns.isWellFormed()) checkTexts(event)
  return data === undefined ? columns : columns + (toJson(data, 'data') ?? '')
}

/** The shape that was checked last: events that come from one place have the same members in the same order. */
let checkedShape: string[] = []

function checkMembers(event: AnyEvent): void {
  let at = 0
  for (const name in event) {
    if (name !== checkedShape[at++]) {
      checkNames(event)
      return
    }
  }
}

function checkNames(event: AnyEvent): void {
  const names: string[] = []
  for (const name in event) {
    if (MEMBERS[name] !== true) {
      throw new NuxtQueueError(
        'NQ_INVALID_EVENT',
        `An event has no member ${shown(name)}; payload goes into data, known are ${Object.keys(MEMBERS).slice(0, 13).join(', ')}.`,
      )
    }
    names.push(name)
  }
  checkedShape = names
}

/** Checks what every event of a run will carry. */
export function checkEnvelope(runId: string, envelope: EventEnvelope): void {
  if (typeof envelope !== 'object' || envelope === null) {
    throw new NuxtQueueError('NQ_INVALID_EVENT', `The envelope is ${shown(envelope)}; expected an object.`)
  }
  checkText(runId, 'runId')
  packEvent({ ...envelope, runId, type: 'state.set', data: undefined })
}

function checkTexts(event: AnyEvent): void {
  checkText(event.type, 'The event type')
  for (const [name, value] of Object.entries(event))
    if (name !== 'data' && typeof value === 'string') checkText(value, name)
}

function column(value: unknown, name: string): string {
  if (value === undefined) return ''
  if (typeof value !== 'string' || value === '') checkText(value, name)
  return value as string
}

function attempt(value: unknown): string {
  if (value === undefined) return ''
  if (Number.isSafeInteger(value) && (value as number) >= 0) return String(value)
  throw new NuxtQueueError('NQ_INVALID_EVENT', `attempt is ${shown(value)}; expected a whole number from 0 on.`)
}

/** What would break the line or the text; lengths and the rest of the rules are the store's. */
function checkText(
  value: unknown,
  name: string,
  code: 'NQ_INVALID_EVENT' | 'NQ_VALIDATION' = 'NQ_INVALID_EVENT',
): void {
  if (typeof value !== 'string') throw new NuxtQueueError(code, `${name} is ${shown(value)}; expected a string.`)
  if (value === '') throw new NuxtQueueError(code, `${name} is empty.`)
  if (CONTROL.test(value) || value.includes('\t')) {
    throw new NuxtQueueError(code, `${name} ${shown(value)} contains a control character.`)
  }
  if (!value.isWellFormed()) throw new NuxtQueueError(code, `${name} ${shown(value)} is not well-formed Unicode.`)
}
