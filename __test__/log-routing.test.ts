/** Where lines go, and what becomes of a step when the place that they go to is in trouble. */

import { Writable } from 'node:stream'
import { type ConsolaInstance, createConsola } from 'consola'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type LogEntry, type LoggingConfig, open, type QueueCore, type StepHandler } from '../index.js'
import { consoleWriter } from '../lib/log/console.js'
import { ExternalLog } from '../lib/log/external-log.js'
import { failure } from './support/failure.js'
import { Home } from './support/runs.js'
import { Warnings } from './support/warnings.js'

let warnings: Warnings
beforeEach(() => {
  warnings = new Warnings()
})
afterEach(() => {
  warnings.stop()
  vi.useRealTimers()
})

/** The codes of the warnings so far. */
const codes = async () => {
  await new Promise(setImmediate)
  return warnings.caught.map((warning) => (warning as Error & { code?: string }).code)
}

const messages = (entries: LogEntry[]) => entries.map(({ message }) => message)

/** Runs a step that logs, and gives what was recorded and what was told. */
async function log(logging: LoggingConfig, handler: StepHandler = logs) {
  const told: LogEntry[] = []
  const adapter = logging.external?.adapter ?? ((entry: LogEntry) => told.push(entry))
  const external = logging.routing === 'console' ? logging.external : { ...logging.external, adapter }
  const home = await Home.open({ logging: { ...logging, ...(external && { external }) } })
  const run = await home.run(handler)
  const recorded = await home.core.logs.query({ runId: run.runId })
  return { home, run, told, recorded: messages(recorded) }
}

const logs: StepHandler = (_, ctx) => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) ctx.logger.log(level, level, { n: 1 })
}

const ALL = ['debug', 'info', 'warn', 'error']

describe('lines go', () => {
  test.each([
    ['internal', ALL, []],
    ['external', [], ALL],
    ['both', ALL, ALL],
  ] as const)('with the routing %s', async (routing, inside, outside) => {
    const { recorded, told, run } = await log({ routing })
    expect([recorded, messages(told)]).toEqual([inside, outside])
    expect((await run.status()).status).toBe('completed')
  })

  test('outside by a level of its own, or by that of all', async () => {
    const own = await log({ routing: 'both', level: 'info', external: { level: 'error' } })
    expect([own.recorded, messages(own.told)]).toEqual([['info', 'warn', 'error'], ['error']])
    const louder = await log({ routing: 'both', level: 'error', external: { level: 'debug' } })
    expect([louder.recorded, messages(louder.told)]).toEqual([['error'], ALL])
    const same = await log({ routing: 'both', level: 'warn' })
    expect(messages(same.told)).toEqual(['warn', 'error'])
  })

  test('once, although the handler is executed again after an await', async () => {
    const { home, told } = await log({ routing: 'external' }, async (_, ctx) => {
      ctx.logger.info('before')
      await ctx.await.time('1h')
      ctx.logger.info('after')
    })
    await home.clock.advance('1h')
    expect(messages(told)).toEqual(['before', 'after'])
    expect(told.map(({ timestamp }) => timestamp)).toEqual(['2025-01-01T00:00:00.000Z', '2025-01-01T01:00:00.000Z'])
  })
})

describe('sampling', () => {
  test('logs some runs in full, and of the others what is always logged', async () => {
    const { home, recorded, told } = await log({ routing: 'both', sampling: { rate: 0 } })
    expect([recorded, messages(told)]).toEqual([
      ['warn', 'error'],
      ['warn', 'error'],
    ])
    expect((await log({ routing: 'both', sampling: { rate: 1 } })).recorded).toEqual(ALL)
    expect((await log({ sampling: { rate: 0, alwaysLog: [] } })).recorded).toEqual([])
    expect((await log({ sampling: { rate: 0, alwaysLog: ['info'] } })).recorded).toEqual(['info'])
    await home.core.close()
  })

  test('takes about its share, and the same runs whoever looks', async () => {
    const sampling = { rate: 0.3, alwaysLog: [] }
    const [one, other] = [await Home.open({ logging: { sampling } }), await Home.open({ logging: { sampling } })]
    const sampled = async ({ core, clock }: Home) => {
      core.flows.define({ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} })
      await core.worker('q', { s: (_, ctx) => ctx.logger.info('m') })
      for (let n = 0; n < 400; n++) await core.flows.start('f', n, { runId: `run-${n}` })
      await clock.settle()
      return (await core.logs.query()).map(({ runId }) => runId)
    }
    const runs = await sampled(one)
    expect(runs.length).toBeGreaterThan(80)
    expect(runs.length).toBeLessThan(160)
    expect(new Set(await sampled(other))).toEqual(new Set(runs))
  })
})

describe('adapters', () => {
  test('pino gets fields and text, and writes them by its own level and format', async () => {
    let text = ''
    const sink = { write: (line: string) => (text += line) }
    const adapter = pino({ level: 'info', base: null, redact: ['metadata.token'] }, sink)
    await log({ routing: 'external', external: { adapter } }, (_, ctx) => {
      ctx.logger.debug('quiet')
      ctx.logger.child({ token: 'secret' }).info('100% %s', { level: 'mine', msg: 'mine' })
      ctx.logger.error('broken', new Error('why', { cause: 'that' }))
    })
    const [line, broken] = text
      .trim()
      .split('\n')
      .map((each) => JSON.parse(each))
    expect(line).toMatchObject({ level: 30, msg: '100% %s', stepName: 'step', runId: expect.any(String) })
    expect(line.metadata).toEqual({ token: '[Redacted]', level: 'mine', msg: 'mine' })
    expect(broken.metadata.error).toMatchObject({
      message: 'why',
      cause: 'that',
      stack: expect.stringContaining('Error'),
    })
  })

  test('consola gets text and fields', async () => {
    const heard: Array<{ type: string; args: unknown[] }> = []
    const adapter: ConsolaInstance = createConsola({ level: 4, reporters: [{ log: (line) => heard.push(line) }] })
    await log({ routing: 'external', external: { adapter } })
    expect(heard.map(({ type, args: [message] }) => [type, message])).toEqual(ALL.map((level) => [level, level]))
    expect(heard[0]?.args[1]).toMatchObject({ stepName: 'step', metadata: { n: 1 } })
  })

  test('the console gets a line of JSON for each entry', async () => {
    const spies = ALL.map((level) => vi.spyOn(console, level as 'info').mockImplementation(() => {}))
    try {
      const { recorded } = await log({ routing: 'console', external: { format: 'json' } })
      expect(recorded).toEqual([])
      expect(spies.map(({ mock }) => JSON.parse(mock.calls[0]?.[0]).level)).toEqual(ALL)
      expect(JSON.parse(spies[1]?.mock.calls[0]?.[0])).toMatchObject({ message: 'info', metadata: { n: 1 } })
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
  })
})

describe('the console', () => {
  const entry: LogEntry = {
    ...{ level: 'warn', message: 'read', timestamp: '2025-01-01T10:00:01.250Z' },
    ...{ runId: 'r', flowName: 'train', stepName: 'fit', metadata: { rows: 150 } },
  }
  const written = (line: LogEntry, terminal: object, format?: 'pretty' | 'json') => {
    const lines: string[] = []
    const write = (text: string) => lines.push(text)
    const console = { debug: write, info: write, warn: write, error: write } as unknown as Console
    consoleWriter(console, terminal, format)(line)
    return lines.join('\n')
  }
  const [plain, coloured] = [
    { isTTY: true, hasColors: () => false },
    { isTTY: true, hasColors: () => true },
  ]

  test('is for people on a terminal, otherwise for programs', () => {
    expect(written(entry, plain)).toBe('10:00:01.250 WARN  train/fit r read {"rows":150}')
    expect(written(entry, coloured)).toContain('\u001b[33mWARN \u001b[0m')
    expect(JSON.parse(written(entry, {}))).toEqual(entry)
    expect(JSON.parse(written(entry, coloured, 'json'))).toEqual(entry)
    expect(written(entry, { hasColors: () => true }, 'pretty')).not.toContain('\u001b')
  })

  test('shows the stacks of errors below their line', () => {
    const error = { name: 'Error', message: 'why', stack: 'Error: why\n    at a.js:1' }
    const [first, ...stack] = written({ ...entry, metadata: { error } }, plain).split('\n')
    expect(first).toContain('{"error":{"name":"Error","message":"why"}}')
    expect(stack).toEqual(['    Error: why', '    at a.js:1'])
  })

  test('lets no text pass for another line, or command the terminal', () => {
    const forged = {
      ...entry,
      message: 'a\n10:00 ERROR\u001b[2J\u009b0m\u2028',
      stepName: '\r',
      metadata: { '\u009b': 1 },
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
    expect(written(forged, plain)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028]/)
    expect(written(forged, plain)).toContain('a\\n10:00 ERROR\\u001b[2J\\u009b0m\\u2028')
  })
})

describe('an adapter in trouble harms neither step nor record', () => {
  test('when it throws', async () => {
    const { home, run, recorded } = await log({
      routing: 'both',
      external: {
        adapter: () => {
          throw new Error('full')
        },
      },
    })
    expect(recorded).toEqual(ALL)
    expect((await run.status()).status).toBe('completed')
    expect(home.core.logs.stats().external).toEqual({ written: 0, failed: 4, dropped: 0, waiting: 0 })
    expect(await codes()).toEqual(['NQ_LOG_EXTERNAL'])
  })

  test('when it rejects', async () => {
    const { home, run, recorded } = await log({
      routing: 'both',
      external: { adapter: async () => Promise.reject(new Error('full')) },
    })
    expect(recorded).toEqual(ALL)
    expect((await run.status()).status).toBe('completed')
    expect(home.core.logs.stats().external).toEqual({ written: 0, failed: 4, dropped: 0, waiting: 0 })
    expect(await codes()).toEqual(['NQ_LOG_EXTERNAL'])
  })

  test('when it never answers: memory is bounded, and what is missing is counted', async () => {
    const asked: LogEntry[] = []
    let recover = () => {}
    const answer = new Promise<void>((resolve) => {
      recover = resolve
    })
    const never = (entry: LogEntry) => {
      asked.push(entry)
      return answer
    }
    const text = 'x'.repeat(10_000)
    const { home, run, recorded } = await log({ routing: 'both', external: { adapter: never } }, (_, ctx) => {
      for (let n = 0; n < 2000; n++) ctx.logger.info(text)
    })
    expect(recorded).toHaveLength(2000)
    expect((await run.status()).status).toBe('completed')
    const { waiting, dropped } = home.core.logs.stats().external
    expect(asked).toHaveLength(64)
    expect(waiting * text.length).toBeLessThan(9 << 20)
    expect(waiting + dropped).toBe(2000)
    expect(await codes()).toEqual(['NQ_LOG_DROPPED'])
    recover()
    await home.core.close()
    expect(asked).toHaveLength(waiting)
    expect(home.core.logs.stats().external).toEqual({ written: waiting, failed: 0, dropped, waiting: 0 })
  })

  test('when it logs by itself what it is given', async () => {
    let core: QueueCore | undefined
    let logger: { info(message: string): void } | undefined
    const told: string[] = []
    const adapter = ({ message }: LogEntry) => {
      told.push(message)
      logger?.info('once more')
    }
    core = await open({ logging: { routing: 'both', external: { adapter } } })
    core.flows.define({ name: 'f', entry: { step: 's', queue: 'q' }, steps: {} })
    const ended = new Promise<void>((resolve) => {
      void core?.worker('q', {
        s: (_, ctx) => {
          logger = ctx.logger
          ctx.logger.info('first')
          resolve()
        },
      })
    })
    await core.flows.start('f')
    await ended
    expect(told).toEqual(['first'])
    expect(core.logs.stats().external).toMatchObject({ written: 1, dropped: 1 })
    await core.close()
  })
})

describe('an asynchronous adapter', () => {
  const line = (n: number): LogEntry => ({ level: 'info', message: String(n), timestamp: '' })

  test('gets all lines in order, and a core that closes waits for it', async () => {
    const told: string[] = []
    const log = new ExternalLog(async ({ message }) => {
      told.push(message)
      await new Promise(setImmediate)
    })
    for (let n = 0; n < 1000; n++) log.write(line(n))
    expect(told).toHaveLength(64)
    await log.close(60_000)
    expect(told).toEqual(Array.from({ length: 1000 }, (_, n) => String(n)))
    expect(log.stats()).toEqual({ written: 1000, failed: 0, dropped: 0, waiting: 0 })
  })

  test('that never answers holds up no core that closes', async () => {
    const log = new ExternalLog(() => new Promise(() => {}))
    for (let n = 0; n < 100; n++) log.write(line(n))
    await log.close(10)
    expect(log.stats()).toEqual({ written: 0, failed: 0, dropped: 36, waiting: 64 })
  })

  test('that is silent for too long counts as failed, and gets the next lines', async () => {
    vi.useFakeTimers()
    const told: string[] = []
    const log = new ExternalLog(({ message }) => {
      told.push(message)
      return new Promise(() => {})
    })
    for (let n = 0; n < 100; n++) log.write(line(n))
    await vi.advanceTimersByTimeAsync(10_000)
    expect(told).toHaveLength(100)
    expect(log.stats()).toEqual({ written: 0, failed: 64, dropped: 0, waiting: 36 })
  })

  test('that comes back gets the next lines, and what answers oddly is no harm', async () => {
    const log = new ExternalLog(({ message }) => {
      const then = { get: () => (message === '0' ? expect.fail('no') : () => expect.fail('no')) }
      return Object.defineProperty({}, 'then', then)
    })
    for (let n = 0; n < 3; n++) log.write(line(n))
    await log.close(60_000)
    expect(log.stats()).toMatchObject({ failed: 3, waiting: 0 })
    log.write(line(3))
    expect(log.stats()).toMatchObject({ dropped: 1 })
  })
})

test.each([
  [{ routing: 'file' }, 'logging.routing'],
  [{ level: 'fatal' }, 'logging.level'],
  [{ external: { level: 'trace' } }, 'logging.external.level'],
  [{ external: { adapter: 'winston' } }, 'logging.external.adapter'],
  [{ external: { adapter: { info: () => {} } } }, 'logging.external.adapter'],
  [{ external: { format: 'xml' } }, 'logging.external.format'],
  [{ routing: 'both', external: { format: 'json', adapter: () => {} } }, 'logging.external.format'],
  [{ routing: 'console', external: { adapter: () => {} } }, "routing: 'external'"],
  [{ sampling: { rate: 1.5 } }, 'logging.sampling.rate'],
  [{ sampling: { rate: '10%' } }, 'logging.sampling.rate'],
  [{ sampling: { rate: 0.5, alwaysLog: ['fatal'] } }, 'logging.sampling.alwaysLog'],
  [{ sampling: { rate: 0.5, alwaysLog: 'error' } }, 'logging.sampling.alwaysLog'],
  [{ transports: [] }, 'logging.transports'],
])('the logging %j is refused', async (logging, message) => {
  const error = await failure(() => open({ logging: logging as LoggingConfig }))
  expect(error).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining(message) })
})

test('a stream of lines does not wait for a slow pipe', async () => {
  // Pino writes into a stream that never drains: it holds the lines itself, and the step goes on.
  const stuck = new Writable({ write: () => {}, highWaterMark: 1 })
  const { run, recorded } = await log({ routing: 'both', external: { adapter: pino(stuck) } })
  expect(recorded).toEqual(ALL)
  expect((await run.status()).status).toBe('completed')
})
