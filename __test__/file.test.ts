/** Events in a directory, as callers of this package see it. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EventStore, open, type StoreOptions } from '../index.js'
import { newStream } from './support/backends.js'
import { runCode } from './support/child.js'
import { makeDirectory, removeDirectory } from './support/directory.js'
import { failure } from './support/failure.js'
import { Inbox } from './support/inbox.js'

let dir: string
const stores: EventStore[] = []

beforeEach(() => {
  dir = makeDirectory()
})
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
  removeDirectory(dir)
})

async function openIn(file: Partial<NonNullable<StoreOptions['file']>> = {}): Promise<EventStore> {
  const store = await EventStore.open({ adapter: 'file', file: { dir, ...file } })
  stores.push(store)
  return store
}

const note = (n: number) => ({ type: 'log.info' as const, data: { level: 'info', message: 'note', n } })

test('what was appended is there when the directory is opened again', async () => {
  const stream = newStream()
  const store = await openIn()
  const state = store.state('run-1')
  await state.set('status', 'packed')
  await state.set('status', 'shipped')
  await store.append(stream, { ...note(1), runId: 'r', attempt: 2, correlationId: 'ü "c"' })
  const records = await store.query({ stream })
  const history = await state.history()
  await store.close()
  const again = await openIn()
  expect(await again.query({ stream })).toEqual(records)
  expect(await again.state('run-1').history()).toEqual(history)
  expect(await again.state('run-1').get('status')).toBe('shipped')
})

test('another process is told that the directory is in use, and can read', async () => {
  const store = await openIn()
  const stream = newStream()
  await store.append(stream, note(1))
  const program = (file: object) => `
    import { EventStore } from './index.js'
    const options = { adapter: 'file', file: ${JSON.stringify(file)} }
    try {
      const store = await EventStore.open(options)
      console.log((await store.query({ stream: '${stream}' })).length)
    } catch ({ code, message }) {
      console.log(code, message)
    }`
  const refused = await runCode(program({ dir }))
  expect(refused.stdout).toContain(`NQ_UNAVAILABLE The directory ${dir} is in use by process ${process.pid};`)
  expect(await runCode(program({ dir, readOnly: true }))).toMatchObject({ code: 0, stdout: '1\n', stderr: '' })
})

test('a reader follows, and changes nothing', async () => {
  const writer = await openIn()
  const stream = newStream()
  const reader = await openIn({ readOnly: true })
  const inbox = await Inbox.of(reader, stream)
  for (let n = 0; n < 3; n++) {
    const record = await writer.append(stream, note(n))
    expect(await inbox.count(n + 1)).toContainEqual(record)
  }
  expect(await reader.state('run-1').getAll()).toEqual({})
  for (const change of [
    () => reader.append(stream, note(9)),
    () => reader.deleteStream(stream),
    () => reader.state('run-1').set('a', 1),
    () => reader.indexAdd('nq:flows:f', 'a', 1),
  ]) {
    expect(await failure(change)).toMatchObject({
      code: 'NQ_CONFIG',
      message: expect.stringContaining('file.readOnly'),
    })
  }
  expect(await writer.query({ stream })).toHaveLength(3)
})

test('worker threads share a directory, and one that is ended leaves it as it is', async () => {
  const stream = newStream()
  const options = { adapter: 'file', file: { dir } }
  const program = fileURLToPath(new URL('./support/append-in-worker.mjs', import.meta.url))
  const append = (first: number) => {
    return new Worker(program, { workerData: { options, stream, first, count: 300 } })
  }
  const ended = (worker: Worker) => new Promise((resolve) => worker.once('exit', resolve))
  const store = await openIn()
  const inbox = await Inbox.of(store, stream)
  const cut = append(5000)
  await inbox.count(1)
  await cut.terminate()
  expect(await Promise.all([append(0), append(1000)].map(ended))).toEqual([0, 0])
  const numbers = (await store.query({ stream })).map((record) => (record.data as unknown as { n: number }).n)
  for (const first of [0, 1000]) {
    const own = numbers.filter((n) => n >= first && n < first + 1000)
    expect(own).toEqual(Array.from({ length: 300 }, (_, n) => first + n))
  }
})

describe('options that can’t work', () => {
  test.each([
    ['no directory', { adapter: 'file' }, 'file.dir'],
    ['an empty directory', { adapter: 'file', file: { dir: '' } }, 'file.dir'],
    ['a number', { adapter: 'file', file: { dir: 7 } }, 'file.dir'],
    ['fsync as a text', { adapter: 'file', file: { dir: 'x', fsync: 'yes' } }, 'file.fsync'],
    ['an unknown member', { adapter: 'file', file: { directory: 'x' } }, 'file.directory'],
    ['no adapter', { file: { dir: 'x' } }, "adapter: 'file'"],
  ])('%s', async (_what, options, named) => {
    const error = await failure(() => EventStore.open(options as StoreOptions))
    expect(error).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining(named) })
  })

  test('a core that could not record what it does', async () => {
    const error = await failure(() => open({ eventStore: { adapter: 'file', file: { dir, readOnly: true } } }))
    expect(error).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining('eventStore.file.readOnly') })
  })

  test('reading where nothing is', async () => {
    const error = await failure(() => openIn({ dir: join(dir, 'nowhere'), readOnly: true }))
    expect(error).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining('no event store') })
  })
})
