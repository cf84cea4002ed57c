/** Entries that nobody can read, or that other programs left: shown as what they are, counted, and never in the way. */

import { expect, onTestFinished, test } from 'vitest'
import { type Diagnostic, onDiagnostic } from '../index.js'
import { newStream, onRedis } from './support/backends.js'
import { command, until } from './support/redis.js'
import { streamOf } from './support/run-events.js'

onRedis('entries of others', (home) => {
  const xadd = (stream: string, ...fields: Array<string | Buffer>) =>
    command(home.server, 'XADD', stream, '*', ...fields) as Promise<string>

  test('are folded where they can be read, passed over where not, counted and reported', async () => {
    const told: Diagnostic[] = []
    onTestFinished(onDiagnostic((diagnostic) => void told.push(diagnostic), { level: 'warn' }))
    const run = newStream()
    const stream = streamOf(run)
    const store = await home.open()
    const state = store.state(run)
    await state.set('a', 1)
    const broken = [
      await xadd(stream, 'type', 'state.set', 'data', '{oops'),
      await xadd(stream, 'type', 'state.set'),
      await xadd(stream, 'type', 'state.batch', 'data', '{"operations":7}'),
      await xadd(stream, 'type', 'state.snapshot', 'data', '[1,2]'),
      await xadd(stream, 'type', 'state.set', 'data', Buffer.from([0x7b, 0xff, 0xfe, 0x00])),
    ]
    // Foreign, and no state: nothing is wrong with them.
    await xadd(stream, 'kind', 'of another program')
    await xadd(stream, 'type', 'note.added', 'data', 'not JSON')
    await state.set('b', 2)

    expect(await state.getAll({ consistency: 'strong' })).toEqual({ a: 1, b: 2 })
    expect(store.stats().unreadable).toBe(broken.length)
    // What is in memory is not folded again.
    expect(await state.getAll()).toEqual({ a: 1, b: 2 })
    expect(store.stats().unreadable).toBe(broken.length)

    const other = await home.open()
    expect(await other.state(run).getAll()).toEqual({ a: 1, b: 2 })
    expect(other.stats().unreadable).toBe(broken.length)
    expect(await other.state(run).history()).toHaveLength(2)
    expect(await other.state(run).at({ id: broken[2] as string })).toEqual({ a: 1 })

    await until(() => told.length >= 2, 'a report of each store')
    const reported = told.filter(({ message }) => message.includes("can't be read"))
    expect(reported.map(({ fields }) => [fields.stream, fields.first])).toContainEqual([stream, broken[0]])
    expect(JSON.stringify(told)).not.toContain('oops')
  })

  test('are shown as what they are', async () => {
    const stream = streamOf(newStream())
    const store = await home.open()
    await xadd(stream, 'type', 'state.set', 'data', '{oops')
    await xadd(stream, 'kind', 'of another program')
    await xadd(stream, 'type', Buffer.from([0xff, 0x41]), 'data', '1')
    for (let time = 0; time < 3; time++) {
      const records = await store.query({ stream })
      expect(records.map(({ type, data }) => ({ type, data }))).toEqual([
        { type: 'state.set', data: '{oops' },
        { type: '', data: undefined },
        { type: '\ufffdA', data: 1 },
      ])
      expect(JSON.parse(await store.queryText({ stream }))).toEqual(records)
    }
  })
})
