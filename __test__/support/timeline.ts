/** A stream as a plain client reads it, and what every prefix of it folds into: the truth that reads are held against. */

import { connect, type RedisServer } from './redis.js'

/** An event of the stream. */
export interface Entry {
  id: string
  /** The instant of the id. */
  ms: number
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: whatever was written
  data: any
  correlationId?: string
}

/** A state, key by key. */
export type State = Map<string, unknown>

/** From how many events to how many, both included. */
export type Span = [from: number, to: number]

/** What a query asks for. */
export interface Asked {
  types?: string[]
  after?: string
  before?: string
  startTime?: number
  endTime?: number
  order?: 'asc' | 'desc'
  limit?: number
}

export class Timeline {
  readonly #positions: Map<string, number>
  readonly #shown = new Map<string, string[]>()
  readonly #spans = new Map<string, Map<string, Span[]>>()

  constructor(
    readonly stream: string,
    readonly entries: Entry[],
  ) {
    this.#positions = new Map(entries.map(({ id }, index) => [id, index]))
  }

  /** Reads a stream with XRANGE. */
  static async read(server: RedisServer, stream: string): Promise<Timeline> {
    const client = connect(server)
    try {
      const entries = await client.xrange(stream, '-', '+')
      return new Timeline(stream, entries.map(toEntry))
    } finally {
      client.disconnect()
    }
  }

  /** How many events there are. */
  get length(): number {
    return this.entries.length
  }

  /** How many events stand before the one with this id. */
  before(id: string): number {
    const position = this.#positions.get(id)
    if (position === undefined) throw new Error(`${this.stream} holds no event ${id}`)
    return position
  }

  /** How many events are of this millisecond or an earlier one. */
  until(ms: number): number {
    let [low, high] = [0, this.entries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.entries[middle] as Entry).ms <= ms) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What a view shows of the state after 0, 1, 2, … events. */
  shown(name: string, view: (state: State) => string): string[] {
    let shown = this.#shown.get(name)
    if (!shown) {
      const state: State = new Map()
      shown = [view(state)]
      for (const entry of this.entries) {
        shown.push(entry.type.startsWith('state.') ? view(apply(state, entry)) : (shown.at(-1) as string))
      }
      this.#shown.set(name, shown)
    }
    return shown
  }

  /**
   * Where the events stand that a query gave, if it is right: if it gives just these when the stream ends after some
   * number of events between these two.
   */
  answering(asked: Asked, ids: string[], least: number, most: number): number[] | undefined {
    const matches: number[] = []
    for (let position = this.#firstOf(asked); position < most; position++) {
      if (isAskedFor(this.entries[position] as Entry, asked)) matches.push(position)
    }
    const fewest = matches.filter((position) => position < least).length
    for (let count = fewest; count <= matches.length; count++) {
      const limit = Math.min(asked.limit ?? count, count)
      const positions = asked.order === 'desc' ? matches.slice(count - limit, count).reverse() : matches.slice(0, limit)
      if (positions.length !== ids.length) continue
      if (positions.every((position, index) => this.entries[position]?.id === ids[index])) return positions
    }
    return undefined
  }

  #firstOf({ after = '' }: Asked): number {
    const position = this.#positions.get(after)
    return position === undefined ? 0 : position + 1
  }

  /** After how many events a view shows this. */
  spans(name: string, view: (state: State) => string, text: string): Span[] {
    let spans = this.#spans.get(name)
    if (!spans) {
      spans = new Map()
      for (const [count, seen] of this.shown(name, view).entries()) {
        const known = spans.get(seen)
        const last = known?.at(-1)
        if (last?.[1] === count - 1) last[1] = count
        else if (known) known.push([count, count])
        else spans.set(seen, [[count, count]])
      }
      this.#spans.set(name, spans)
    }
    return spans.get(text) ?? []
  }
}

function isAskedFor({ id, ms, type }: Entry, asked: Asked): boolean {
  const { types, after, before, startTime = 0, endTime = Number.POSITIVE_INFINITY } = asked
  if (ms < startTime || ms > endTime) return false
  if (after !== undefined && compareIds(id, after) <= 0) return false
  if (before !== undefined && compareIds(id, before) >= 0) return false
  const isOf = (wanted: string) => (wanted.endsWith('.*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted)
  return types === undefined || types.length === 0 || types.some(isOf)
}

/** Below 0: the first id is the smaller one. */
export function compareIds(a: string, b: string): number {
  const [ms, seq] = a.split('-').map(Number) as [number, number]
  const [otherMs, otherSeq] = b.split('-').map(Number) as [number, number]
  return ms - otherMs || seq - otherSeq
}

/** Folds one event into a state. */
export function apply(state: State, { type, data }: Pick<Entry, 'type' | 'data'>): State {
  if (type === 'state.set') state.set(data.key, data.value)
  else if (type === 'state.delete') state.delete(data.key)
  else if (type === 'state.batch') for (const { type, ...rest } of data.operations) apply(state, toSingle(type, rest))
  else if (type === 'state.snapshot') {
    state.clear()
    for (const [key, value] of Object.entries(data)) state.set(key, value)
  }
  return state
}

/** A whole state as text, the same for the same state. */
export function textOf(state: State | Record<string, unknown>): string {
  const entries = state instanceof Map ? [...state] : Object.entries(state)
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

const toSingle = (type: string, data: unknown) => ({ type: `state.${type}`, data })

function toEntry([id, fields]: [string, string[]]): Entry {
  const entry: Record<string, string> = {}
  for (let index = 0; index < fields.length; index += 2) entry[fields[index] as string] = fields[index + 1] as string
  const { type = '', data, correlationId } = entry
  return { id, ms: Number.parseInt(id, 10), type, data: data ? JSON.parse(data) : undefined, correlationId }
}
