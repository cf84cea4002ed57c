/** P2: appends are stored in the order of the calls, awaited or not, and a read sees every append before it. */

import { expect, test } from 'vitest'
import { type EventStore, type NewEvent, NuxtQueueError, type UntypedRecord } from '../index.js'
import { newStream, onEveryBackend, onRedis } from './support/backends.js'
import { randomFrom } from './support/random.js'
import { command } from './support/redis.js'

const STREAMS = 20
const CALLS = 5000

const numbered = (n: number) => ({ type: 'note.added', runId: 'r', data: { n } }) as unknown as NewEvent
const numbersOf = (records: UntypedRecord[]) => records.map((record) => (record.data as { n: number }).n)

/** Makes calls one after the other, awaits none of them, and keeps what each stream should hold by then. */
class Caller {
  readonly expected: number[][] = Array.from({ length: STREAMS }, () => [])
  /** The records that appends resolved with, by stream, in the order of the calls. */
  readonly returned: Array<Promise<{ stream: number; records: UntypedRecord[] }>> = []
  /** Reads, and how many events were appended before each. */
  readonly reads: Array<Promise<{ stream: number; before: number; seen: number[] }>> = []
  readonly #names = Array.from({ length: STREAMS }, newStream)
  readonly #random
  #next = 0

  constructor(
    private readonly store: EventStore,
    seed: number,
  ) {
    this.#random = randomFrom(seed)
  }

  name(stream: number): string {
    return this.#names[stream] as string
  }

  call(): void {
    const stream = this.#random.upTo(STREAMS)
    const kind = this.#random.upTo(20)
    if (kind < 10) this.#append(stream)
    else if (kind < 13) this.#batch(stream, 1 + this.#random.upTo(5))
    else if (kind < 15) this.#withKey(stream)
    else if (kind < 16) this.#asFirst(stream)
    else if (kind < 17) this.#conflicting(stream)
    else if (kind < 18) this.#refused(stream)
    else this.#read(stream, kind === 18)
  }

  #take(stream: number): number {
    const n = this.#next++
    this.expected[stream]?.push(n)
    return n
  }

  #keep(stream: number, append: Promise<UntypedRecord | UntypedRecord[]>): void {
    this.returned.push(append.then((result) => ({ stream, records: [result].flat() })))
  }

  #append(stream: number): void {
    this.#keep(stream, this.store.append(this.name(stream), numbered(this.#take(stream))))
  }

  #batch(stream: number, size: number): void {
    const events = Array.from({ length: size }, () => numbered(this.#take(stream)))
    this.#keep(stream, this.store.appendBatch(this.name(stream), events))
  }

  /** Twice with the same key: stored once, and both calls give the same record. */
  #withKey(stream: number): void {
    const n = this.#take(stream)
    const append = () => this.store.append(this.name(stream), numbered(n), { idempotencyKey: `k${n}` })
    const first = append()
    this.#keep(stream, first)
    const repeated = append().then(async (again) => {
      expect(again).toEqual(await first)
      return { stream, records: [] }
    })
    this.returned.push(repeated)
  }

  /** On the condition that the stream does not exist yet. */
  #asFirst(stream: number): void {
    const isFirst = this.expected[stream]?.length === 0
    const n = isFirst ? this.#take(stream) : -1
    const append = this.store.append(this.name(stream), numbered(n), { expectedLastId: '0-0' })
    if (isFirst) this.#keep(stream, append)
    else this.#expectRefusal(append, 'NQ_CONFLICT')
  }

  #conflicting(stream: number): void {
    this.#expectRefusal(this.store.append(this.name(stream), numbered(-1), { expectedLastId: '1-1' }), 'NQ_CONFLICT')
  }

  #refused(stream: number): void {
    this.#expectRefusal(this.store.append(this.name(stream), { ...numbered(-1), runId: '' }), 'NQ_INVALID_EVENT')
  }

  #expectRefusal(append: Promise<unknown>, code: string): void {
    const refused = append.then(
      () => Promise.reject(new Error(`expected ${code}`)),
      (error) => {
        expect(error).toBeInstanceOf(NuxtQueueError)
        expect(error.code).toBe(code)
        return { stream: 0, records: [] }
      },
    )
    this.returned.push(refused)
  }

  #read(stream: number, backwards: boolean): void {
    const before = this.expected[stream]?.length ?? 0
    const read = this.store.query({ stream: this.name(stream), order: backwards ? 'desc' : 'asc' })
    const seen = read.then((records) => numbersOf(backwards ? records.reverse() : records))
    this.reads.push(seen.then((numbers) => ({ stream, before, seen: numbers })))
  }

  /** Waits for every call and checks all that was promised. */
  async check(): Promise<void> {
    const returned = await Promise.all(this.returned)
    for (const { stream, before, seen } of await Promise.all(this.reads)) {
      expect(seen.length).toBeGreaterThanOrEqual(before)
      expect(seen).toEqual(this.expected[stream]?.slice(0, seen.length))
    }
    for (let stream = 0; stream < STREAMS; stream++) {
      const stored = await this.store.query({ stream: this.name(stream) })
      expect(numbersOf(stored)).toEqual(this.expected[stream])
      expect(returned.flatMap((one) => (one.stream === stream ? one.records : []))).toEqual(stored)
    }
  }
}

onEveryBackend('P2: order', (home) => {
  test('5,000 calls of one tick over 20 streams', async () => {
    const caller = new Caller(await home.open(), 1)
    for (let n = 0; n < CALLS; n++) caller.call()
    await caller.check()
  })

  test('5,000 calls over many ticks', async () => {
    const caller = new Caller(await home.open(), 2)
    const pause = randomFrom(3)
    for (let n = 0; n < CALLS; n++) {
      caller.call()
      const kind = pause.upTo(100)
      if (kind < 20) await Promise.resolve()
      else if (kind < 25) await new Promise((resolve) => setImmediate(resolve))
      else if (kind < 26) await caller.returned.at(-1)
    }
    await caller.check()
  })

  test('5,000 calls through a queue that holds few of them', async () => {
    const caller = new Caller(await home.open({ limits: { maxQueuedBytes: 5000, appendTimeoutMs: 30_000 } }), 4)
    for (let n = 0; n < CALLS; n++) caller.call()
    await caller.check()
  })

  test('calls from callbacks keep their order, too', async () => {
    const store = await home.open()
    const stream = newStream()
    const called: number[] = []
    const append = (n: number) => {
      called.push(n)
      return store.append(stream, numbered(n))
    }
    const chains = Array.from({ length: 20 }, async (_, chain) => {
      for (let step = 0; step < 20; step++) await append(chain * 100 + step)
    })
    await Promise.all(chains)
    expect(numbersOf(await store.query({ stream }))).toEqual(called)
  })

  test('state changes and events of a run share one order', async () => {
    const store = await home.open()
    const run = newStream()
    const state = store.state<{ epoch: number; loss: number }>(run)
    const stream = `nq:flow:${run}`
    for (let epoch = 0; epoch < 200; epoch++) {
      void state.set('epoch', epoch)
      void store.append(stream, { type: 'log.info', runId: run, data: { level: 'info', message: String(epoch) } })
      void state.setBatch({ loss: 1 / (epoch + 1) })
    }
    expect(await state.get('epoch')).toBe(199)
    const types = (await store.query({ stream })).map((record) => record.type)
    expect(types).toEqual(Array.from({ length: 200 }, () => ['state.set', 'log.info', 'state.batch']).flat())
  })
})

onRedis('P2: order', (home) => {
  test('connections that are cut meanwhile change nothing of it', async () => {
    const caller = new Caller(await home.open({ limits: { appendTimeoutMs: 30_000 } }), 5)
    for (let n = 0; n < CALLS; n++) {
      caller.call()
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      if (n % 1000 === 500) await command(home.server, 'CLIENT', 'KILL', 'TYPE', 'normal')
    }
    await caller.check()
  })

  test('two stores on one stream: each one’s own order holds', async () => {
    const stream = newStream()
    const stores = [await home.open(), await home.open()]
    const appends = Array.from({ length: 2000 }, (_, n) => stores[n % 2]?.append(stream, numbered(n)))
    await Promise.all(appends)
    const numbers = numbersOf(await (stores[0] as EventStore).query({ stream }))
    expect(numbers).toHaveLength(2000)
    for (const own of [0, 1]) {
      const mine = numbers.filter((n) => n % 2 === own)
      expect(mine).toEqual(mine.toSorted((a, b) => a - b))
    }
  })
})
