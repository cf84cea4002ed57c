import type * as surface from '../index.js'
import type { NativeRunState } from '../native.cjs'
import type { Bridge } from './bridge.js'
import { NuxtQueueError, unwrap } from './errors.js'
import type { EventStore } from './event-store.js'
import { toJson } from './json.js'
import { native } from './native.js'
import type { AnyEvent } from './pack.js'
import { checkOptions, invalid, isStrong } from './query.js'
import { timestampOf, toPoint } from './time.js'

/** What the states of a store share. */
export interface Home {
  store: EventStore
  bridge: Bridge
  now: () => number
  patches: Map<string, Promise<unknown>>
}

type Envelope = surface.EventEnvelope & { runId: string }
type Values = Record<string, unknown>
type ReadOptions = surface.ReadOptions | undefined

/** The state of a run; documented in `index.d.ts`. */
export class RunState implements Pick<surface.RunState, keyof surface.RunState> {
  readonly #home: Home
  readonly #native: NativeRunState
  readonly #handle: object
  readonly #stream: string
  readonly #envelope: Envelope

  private constructor(home: Home, envelope: Envelope) {
    const texts = Object.entries(envelope).filter(([, value]) => value !== undefined)
    const packed = JSON.stringify(Object.fromEntries(texts.map(([name, value]) => [name, String(value)])))
    this.#home = home
    this.#native = home.bridge.store.runState(envelope.runId, packed)
    this.#handle = this.#native.handle()
    this.#stream = this.#native.stream()
    this.#envelope = envelope
  }

  static of(home: Home, runId: string, envelope: surface.EventEnvelope): RunState {
    return new RunState(home, { ...envelope, runId })
  }

  /** The stream that holds a run. */
  static streamOf(state: RunState): string {
    return state.#stream
  }

  async get(key: string, options?: ReadOptions): Promise<unknown> {
    const value = this.#peek(key, options) ?? (await this.#get(key, options))
    return value === '' ? undefined : JSON.parse(value)
  }

  /** What memory can tell at once, as JSON; `null`: it can't. */
  #peek(key: string, options: ReadOptions): string | null {
    if (options !== undefined) return null
    checkKey(key)
    this.#home.bridge.flush()
    return native.peekState(this.#handle, key)
  }

  async getAll(options?: ReadOptions): Promise<Values> {
    const strong = isStrong(options)
    return JSON.parse(await this.#read((ticket) => this.#native.getAll(ticket, strong)))
  }

  async has(key: string, options?: ReadOptions): Promise<boolean> {
    return (await this.#get(key, options)) !== ''
  }

  #get(key: string, options: ReadOptions): Promise<string> {
    checkKey(key)
    const strong = isStrong(options)
    return this.#read((ticket) => this.#native.get(ticket, key, strong))
  }

  async set(key: string, value: unknown, options: { ttl?: number } = {}): Promise<void> {
    checkKey(key)
    checkValue(value, 'value')
    const { ttl } = checkOptions(options, ['ttl'])
    if (ttl !== undefined && !(Number.isFinite(ttl) && ttl > 0)) throw invalid('ttl', ttl, 'milliseconds above 0')
    const expiresAt = ttl === undefined ? {} : { expiresAt: timestampOf(`${Math.ceil(this.#home.now() + ttl)}-0`) }
    await this.#append({ type: 'state.set', data: { key, value, ...expiresAt } })
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    await this.#append({ type: 'state.delete', data: { key } })
  }

  async setBatch(values: Values): Promise<void> {
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw invalid('values', values, 'an object')
    const entries = Object.entries(values).filter(([, value]) => value !== undefined)
    for (const [key, value] of entries) {
      checkKey(key)
      checkValue(value, `values[${JSON.stringify(key)}]`)
    }
    if (entries.length === 0) return
    const operations = entries.map(([key, value]) => ({ type: 'set', key, value }))
    await this.#append({ type: 'state.batch', data: { operations } })
  }

  // biome-ignore lint/suspicious/noExplicitAny: index.d.ts types the value
  async patch(key: string, update: (previous: any) => unknown): Promise<any> {
    checkKey(key)
    if (typeof update !== 'function') throw invalid('update', update, 'a function')
    const { patches } = this.#home
    const before = patches.get(this.#stream)
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    patches.set(this.#stream, finished)
    try {
      await before
      return await this.#patch(key, update)
    } finally {
      finish()
      if (patches.get(this.#stream) === finished) patches.delete(this.#stream)
    }
  }

  async #patch(key: string, update: (previous: unknown) => unknown): Promise<unknown> {
    for (;;) {
      const read = await this.#read((ticket) => this.#native.getWithLastId(ticket, key))
      const space = read.indexOf(' ')
      const previous = read.slice(space + 1)
      const value = update(previous === '' ? undefined : JSON.parse(previous))
      if (value instanceof Promise) {
        // Nobody will wait for it: should it fail, too, that must not end the process.
        value.catch(() => {})
        throw invalid('The result of update', value, 'the value itself, not a promise')
      }
      checkValue(value, 'The result of update')
      try {
        await this.#append({ type: 'state.set', data: { key, value } }, read.slice(0, space))
        return value
      } catch (error) {
        if (!(error instanceof NuxtQueueError && error.code === 'NQ_CONFLICT')) throw error
      }
    }
  }

  async list(prefix = '', options?: ReadOptions): Promise<string[]> {
    checkKey(prefix, 'prefix')
    const strong = isStrong(options)
    return JSON.parse(await this.#read((ticket) => this.#native.list(ticket, prefix, strong)))
  }

  async at(point: surface.Point): Promise<Values> {
    const packed = JSON.stringify(toPoint(point, 'point'))
    return JSON.parse(await this.#read((ticket) => this.#native.at(ticket, packed)))
  }

  async history(key?: string): Promise<surface.HistoryEntry[]> {
    if (key !== undefined) checkKey(key)
    return JSON.parse(await this.#read((ticket) => this.#native.history(ticket, key)))
  }

  async diff(a: surface.Point, b: surface.Point): Promise<surface.StateDiff> {
    const [from, to] = [JSON.stringify(toPoint(a, 'a')), JSON.stringify(toPoint(b, 'b'))]
    const diff = JSON.parse(await this.#read((ticket) => this.#native.diff(ticket, from, to)))
    // Not enumerable, so that a diff compares and prints as its three lists.
    return Object.defineProperty(diff, 'events', { value: diff.events, enumerable: false })
  }

  async snapshot(): Promise<surface.EventRecord<'state.snapshot'>> {
    return JSON.parse(await this.#read((ticket) => this.#native.snapshot(ticket)))
  }

  async #read(method: (ticket: number) => string | null): Promise<string> {
    return unwrap(await this.#home.bridge.call(method))
  }

  async #append(event: { type: string; data: unknown }, expectedLastId?: string): Promise<void> {
    const options = expectedLastId === undefined ? undefined : { expectedLastId }
    await this.#home.store.append(this.#stream, { ...this.#envelope, ...event } as AnyEvent, options)
  }
}

function checkKey(key: unknown, name = 'key'): void {
  if (typeof key !== 'string' || !key.isWellFormed()) throw invalid(name, key, 'a string of well-formed Unicode')
}

/** Values are checked before they are written, so that an error names what the caller wrote. */
function checkValue(value: unknown, name: string): void {
  if (value === undefined) throw invalid(name, value, 'a JSON value; use delete to remove a key')
  toJson(value, name)
}
