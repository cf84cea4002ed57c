/** Lines of one run and of many: found by what they say, in order, in bounded memory. */

import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { type LogEntry, type LogQuery, open, type QueueCore } from '../index.js'
import { type Home, onEveryBackend } from './support/backends.js'
import { refuses } from './support/failure.js'
import { command } from './support/redis.js'

const opened: QueueCore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()))
})

/** A core of its own in this place. */
async function openCore(home: Home, prefix = `nq-${randomUUID().slice(0, 8)}`): Promise<QueueCore> {
  const core = await open({ eventStore: { ...home.options, prefix } })
  opened.push(core)
  return core
}

/** A line of a run, at an instant of its own. */
interface Line extends Partial<Omit<LogEntry, 'timestamp'>> {
  message: string
}

/** Records runs of a flow, one line after the other, so that their instants differ. */
async function record(core: QueueCore, prefix: string, flowName: string, lines: Line[]): Promise<void> {
  const begun = new Set<string>()
  for (const { level = 'info', message, metadata, runId = 'r', ...envelope } of lines) {
    if (!begun.has(runId)) {
      await core.store.indexAdd(`${prefix}:flows:${flowName}`, runId, Date.now() + begun.size)
      begun.add(runId)
    }
    const data = { level, message, ...(metadata && { metadata }) }
    const event = { type: `log.${level}` as const, runId, flowName, ...envelope, data }
    await core.store.append(`${prefix}:flow:${runId}`, event)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

onEveryBackend('lines', (home) => {
  /** The messages that a query of these lines finds. */
  async function finder(lines: Line[], flowName = 'f') {
    const prefix = `nq-${randomUUID().slice(0, 8)}`
    const core = await openCore(home, prefix)
    await record(core, prefix, flowName, lines)
    const found = async (query?: LogQuery) => (await core.logs.query(query)).map(({ message }) => message).join(' ')
    const iterated = async (query?: LogQuery) => {
      const messages: string[] = []
      for await (const { message } of core.logs.iterate(query)) messages.push(message)
      return messages.join(' ')
    }
    return { core, prefix, found, iterated }
  }

  test('of one run are found by what they say', async () => {
    const { found } = await finder([
      { message: 'a', level: 'debug', stepName: 's', attempt: 1, instanceId: 'i' },
      { message: 'B say "hi"', level: 'warn', stepName: 's', attempt: 2, correlationId: 'c' },
      { message: 'c', level: 'error', stepName: 't', metadata: { File: 'x\n"y"', n: [1, { deep: 'Iris' }] } },
      { message: 'other', runId: 'other' },
    ])
    const ofRun = async (query: LogQuery) => await found({ runId: 'r', ...query })
    expect(await ofRun({})).toBe('a B say "hi" c')
    expect(await ofRun({ level: ['debug', 'error'] })).toBe('a c')
    expect(await ofRun({ stepName: 's', level: 'warn' })).toBe('B say "hi"')
    expect(await ofRun({ attempt: 1 })).toBe('a')
    expect(await ofRun({ instanceId: 'i' })).toBe('a')
    expect(await ofRun({ correlationId: 'c' })).toBe('B say "hi"')
    expect(await ofRun({ contains: 'SAY "HI"' })).toBe('B say "hi"')
    expect(await ofRun({ contains: 'X\n"Y"' })).toBe('c')
    expect(await ofRun({ contains: 'iris' })).toBe('c')
    expect(await ofRun({ contains: 'nowhere' })).toBe('')
    expect(await ofRun({ order: 'desc', limit: 2 })).toBe('c B say "hi"')
    expect(await found({ runId: 'nobody' })).toBe('')
  })

  test('of many runs come in the order of time', async () => {
    const turns = ['x', 'y', 'z', 'y', 'x', 'z', 'x']
    const { found, core } = await finder(
      turns.map((runId, n) => ({ runId, message: String(n), level: n % 2 ? 'warn' : 'info' })),
    )
    expect(await found({ flowName: 'f' })).toBe('0 1 2 3 4 5 6')
    expect(await found()).toBe('0 1 2 3 4 5 6')
    expect(await found({ flowName: 'f', order: 'desc' })).toBe('6 5 4 3 2 1 0')
    expect(await found({ flowName: 'f', order: 'desc', limit: 3 })).toBe('6 5 4')
    expect(await found({ limit: 2 })).toBe('0 1')
    expect(await found({ level: 'warn', order: 'desc', limit: 2 })).toBe('5 3')
    const lines = await core.logs.query({ flowName: 'f' })
    expect(lines.map(({ runId }) => runId)).toEqual(turns)
    const [third, fifth] = [lines[2]?.timestamp as string, lines[4]?.timestamp as string]
    expect(await found({ flowName: 'f', startTime: third, endTime: fifth })).toBe('2 3 4')
    expect(await found({ startTime: fifth })).toBe('4 5 6')
  })

  test('are iterated run by run, the runs of a flow newest first', async () => {
    const { iterated } = await finder(['x', 'y', 'x', 'y'].map((runId, n) => ({ runId, message: String(n) })))
    expect(await iterated({ flowName: 'f' })).toBe('1 3 0 2')
    expect(await iterated({ flowName: 'f', order: 'desc', limit: 3 })).toBe('3 1 2')
    expect(['0 2 1 3', '1 3 0 2']).toContain(await iterated())
  })

  test('of other flows, and of other prefixes, are not found', async () => {
    const { core, prefix, found } = await finder([{ message: 'mine', runId: 'a' }])
    await record(core, prefix, 'g', [{ message: 'theirs', runId: 'b' }])
    const odd = await openCore(home, `${prefix}-*`)
    await record(odd, `${prefix}-*`, 'f', [{ message: 'odd', runId: 'c' }])
    expect(await found({ flowName: 'f' })).toBe('mine')
    expect(await found({ flowName: 'nope' })).toBe('')
    expect(await found()).toBe('mine theirs')
    expect((await odd.logs.query()).map(({ message }) => message)).toEqual(['odd'])
  })

  test('of more runs than a page of the index has are all found, while runs begin and go', async () => {
    const { core, prefix } = await finder([])
    const runs = Array.from({ length: 1200 }, (_, n) => `run-${String(n).padStart(4, '0')}`)
    const index = `${prefix}:flows:f`
    const add = async (runId: string, score: number) => {
      const line = { type: 'log.info', runId, data: { level: 'info', message: runId } } as const
      await Promise.all([core.store.indexAdd(index, runId, score), core.store.append(`${prefix}:flow:${runId}`, line)])
    }
    // Some of them began in the same millisecond.
    await Promise.all(runs.map((runId, n) => add(runId, Math.floor(n / 7))))
    const found = new Set<string>()
    let count = 0
    for await (const { message } of core.logs.iterate({ flowName: 'f' })) {
      found.add(message)
      count++
      if (count % 100 > 0) continue
      await add(`new-${count}`, 1e6)
      // As when they expire.
      if (home.server) await command(home.server, 'ZREM', index, ...found)
    }
    expect(count).toBe(found.size)
    for (const runId of runs) expect(found).toContain(runId)
  })

  describe('a filter that is malformed is refused', () => {
    test.each([
      [{ level: 'fatal' }, 'level'],
      [{ level: ['warn', 7] }, 'level'],
      [{ runId: 7 }, 'runId'],
      [{ flowName: null }, 'flowName'],
      [{ attempt: -1 }, 'attempt'],
      [{ contains: '' }, 'contains'],
      [{ contains: /x/ }, 'contains'],
      [{ limit: 0 }, 'limit'],
      [{ order: 'up' }, 'order'],
      [{ startTime: 'yesterday' }, 'startTime'],
      [{ text: 'x' }, 'text'],
      ['r', 'options'],
      [null, 'options'],
    ])('%j', async (query, message) => {
      const core = await openCore(home)
      await refuses(() => core.logs.query(query as never), 'NQ_VALIDATION', message)
      await refuses(() => core.logs.iterate(query as never), 'NQ_VALIDATION', message)
    })
  })
})
