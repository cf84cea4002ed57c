/** Very many lines at once, recorded and told: none is lost in the runs, and none out of order. */

import { expect, test } from 'vitest'
import { type LogEntry, open, type UntypedRecord } from '../index.js'
import { RunLogger } from '../lib/log/logger.js'
import { onEveryBackend, onRedis } from './support/backends.js'
import { Warnings } from './support/warnings.js'

const RUNS = 50
const LINES = 2000
/** As many appends of one tick as go to the store together, see `lib/bridge.ts`. */
const HANDED_OVER_TOGETHER = 32
/** After so many lines there is a change of state. */
const EVERY = 100

onEveryBackend('100,000 lines of 50 runs at a time', (home) => {
  test('stand in their runs in order with the changes of state, however slow the logger outside is', async () => {
    let busy = 0
    let most = 0
    const slow = async (_: LogEntry) => {
      most = Math.max(most, ++busy)
      await new Promise((resolve) => setTimeout(resolve, 5))
      busy--
    }
    const warnings = new Warnings()
    const logging = { routing: 'both', external: { adapter: slow } } as const
    const core = await open({ eventStore: home.options, logging })
    core.flows.define({ name: 'load', entry: { step: 'work', queue: 'load' }, steps: {} })
    let working = 0
    let waiting = 0
    const ended: Array<() => void> = []
    const allWork = new Promise<void>((resolve) => ended.push(resolve))
    await core.worker(
      'load',
      {
        work: async (_, ctx) => {
          if (++working === RUNS) for (const resolve of ended) resolve()
          await allWork
          for (let n = 0; n < LINES; n++) {
            ctx.logger.info(`line ${n}`, { n })
            if (n % EVERY === EVERY - 1) await ctx.state.set('n', n)
          }
          waiting = Math.max(waiting, core.logs.stats().external.waiting)
        },
      },
      { concurrency: RUNS },
    )
    const runs = await Promise.all(Array.from({ length: RUNS }, (_, n) => core.flows.start('load', n)))
    for (const { runId } of runs) await completed(core, runId)
    const { written, dropped, waiting: left } = core.logs.stats().external
    expect(written + dropped + left).toBe(RUNS * LINES)
    expect(most).toBeLessThanOrEqual(64)
    // 8 MiB of lines of more than 512 bytes each.
    expect(waiting).toBeLessThan(1 << 14)

    for (const { runId } of runs) {
      const events: UntypedRecord[] = await core.store.query({
        stream: `nq:flow:${runId}`,
        types: ['log.*', 'state.*'],
      })
      expect(events.map(told)).toEqual(EXPECTED)
    }
    await core.close()
    warnings.stop()
    expect(warnings.caught.map((warning) => (warning as Error & { code?: string }).code)).toEqual(['NQ_LOG_DROPPED'])
  })
})

onRedis('lines that were just logged', (home) => {
  test('are stored when the core has closed', async () => {
    const core = await open({ eventStore: home.options })
    core.flows.define({ name: 'late', entry: { step: 'work', queue: 'late' }, steps: {} })
    const begun = new Promise<string>((resolve) => {
      void core.worker('late', {
        work: (_, ctx) => {
          for (let n = 0; n < 5000; n++) ctx.logger.info('line', { n })
          resolve(ctx.runId)
        },
      })
    })
    await core.flows.start('late')
    const runId = await begun
    await core.close()
    const again = await open({ eventStore: home.options })
    const lines = await again.logs.query({ runId })
    expect(lines.map(({ metadata }) => metadata?.n)).toEqual(Array.from({ length: 5000 }, (_, n) => n))
    await again.close()
  })

  test('go out together, and at once', async () => {
    const store = await home.open()
    const logger = new RunLogger(store, 'nq:flow:batch', { runId: 'batch' })
    const before = store.stats().pipelines
    for (let n = 0; n < 500; n++) logger.info('line', { n })
    await logger.flush()
    expect(store.stats().pipelines - before).toBeLessThanOrEqual(Math.ceil(500 / HANDED_OVER_TOGETHER))
  })
})

const EXPECTED = Array.from({ length: LINES }, (_, n) => (n % EVERY === EVERY - 1 ? [n, `n = ${n}`] : [n])).flat()

/** The number of a line, or what was set. */
function told({ type, data }: UntypedRecord) {
  const { key, value, metadata } = data as { key?: string; value?: unknown; metadata?: { n: number } }
  return type.startsWith('log.') ? metadata?.n : `${key} = ${value}`
}

async function completed(core: Awaited<ReturnType<typeof open>>, runId: string): Promise<void> {
  while ((await core.flows.status(runId))?.status !== 'completed')
    await new Promise((resolve) => setTimeout(resolve, 20))
}
