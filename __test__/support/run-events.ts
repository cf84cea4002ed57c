/** Events of runs, as whoever runs flows writes them. */

import type { EventStore, NewEvent, UntypedRecord } from '../../index.js'

/** An event of any type; tests write types by name. */
export const event = (type: string, data: unknown = {}): NewEvent => ({ type, data }) as unknown as NewEvent

/** The stream of a run. */
export const streamOf = (run: string, prefix = 'nq'): string => `${prefix}:flow:${run}`

/** A log event of about so many bytes. */
export const log = (message: string, bytes = 0): NewEvent =>
  event('log.info', { level: 'info', message: message.padEnd(bytes, '.') })

/** Whether an event is a log; the note that logs were trimmed is none. */
export const isLog = ({ type }: UntypedRecord): boolean =>
  type === 'log' || (type.startsWith('log.') && type !== 'log.trimmed')

/** Whether a stream is there, by every way to see it. */
export async function isKept(store: EventStore, stream: string): Promise<boolean> {
  const [events, listed] = [await store.query({ stream }), await names(store, stream)]
  if (events.length > 0 !== listed.includes(stream)) {
    throw new Error(`${stream}: ${events.length} events, but listed are ${listed.join(', ') || 'none'}`)
  }
  return events.length > 0
}

async function names(store: EventStore, pattern: string): Promise<string[]> {
  const found: string[] = []
  for await (const { stream } of store.streams(pattern)) found.push(stream)
  return found
}
