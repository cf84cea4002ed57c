/** Every backend that a suite can run on, with a real server where it needs one. */

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { EventStore, type StoreOptions } from '../../index.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { type RedisServer, startRedis } from './redis.js'

/** A place for stores; what is opened here is closed after each test. */
export class Home {
  readonly #opened: EventStore[] = []
  /** The Redis server behind it; the other backends have none. */
  server?: RedisServer
  /** The directory of the file backend: a new one for each test, as their clocks differ. */
  #directory?: string

  constructor(readonly name: string) {}

  /** The options that lead a store here. */
  get options(): StoreOptions {
    if (this.server) return { adapter: 'redis', redis: { url: this.server.url } }
    if (this.name !== 'file') return { adapter: 'memory' }
    this.#directory ??= makeDirectory()
    // What survives the machine is not seen here, and thousands of appends, one after the other, need not wait for it.
    return { adapter: 'file', file: { dir: this.#directory, fsync: false } }
  }

  /** Opens a store. */
  async open(options: StoreOptions = {}): Promise<EventStore> {
    const store = await EventStore.open({ ...this.options, ...options })
    this.#opened.push(store)
    return store
  }

  /** Closes what was opened so far. */
  async closeAll(): Promise<void> {
    await Promise.all(this.#opened.splice(0).map((store) => store.close()))
    if (this.#directory) removeDirectory(this.#directory)
    this.#directory = undefined
  }
}

/** Tells a suite in memory, in a directory and on Redis. */
export function onEveryBackend(title: string, suite: (home: Home) => void): void {
  for (const name of ['memory', 'file', 'redis']) {
    describe(`${title} on ${name}`, () => {
      const home = new Home(name)
      if (name === 'redis') withRedis(home)
      afterEach(() => home.closeAll())
      suite(home)
    })
  }
}

/** Tells a suite on Redis alone. */
export function onRedis(title: string, suite: (home: Home & { server: RedisServer }) => void): void {
  describe(`${title} on redis`, () => {
    const home = new Home('redis')
    withRedis(home)
    afterEach(() => home.closeAll())
    suite(home as Home & { server: RedisServer })
  })
}

function withRedis(home: Home): void {
  beforeAll(async () => {
    home.server = await startRedis()
  })
  afterAll(() => home.server?.stop())
}

/** A stream name that no other test has. */
export function newStream(): string {
  return `test:${randomUUID()}`
}

/** The items of an async iterable. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}
