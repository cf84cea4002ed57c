// Loggers of a step, on this package and on pino alone.
//
//   log(count) → resolves when so many lines are where they belong     check(count) throws when one is missing     close()
//
// Pino formats its lines and hands them to a sink that counts them: what a file or a pipe costs is not measured.

import { pino } from 'pino'
import { CORE } from './subjects.mjs'

/** What a line of a step says of itself. */
const FIELDS = {
  ...{ runId: '019a0000-0000-7000-8000-000000000000', flowName: 'bench', stepName: 'work', attempt: 1, queue: 'log' },
  ...{ stepId: '019a0000-0000-7000-8000-000000000000__work__attempt-1', workerId: 'host-1/work', instanceId: 'host-1' },
  correlationId: '019a0000-0000-7000-8000-000000000000',
}

const metadata = (n) => ({ epoch: n, loss: 0.173, phase: 'training' })

/** With the fields in a child, which writes them once and for all. */
export function plainPino() {
  return {
    name: 'pino alone',
    open: async () => {
      const { logger, sink } = countingPino()
      const child = logger.child(FIELDS)
      return {
        log: async (count) => {
          for (let n = 0; n < count; n++) child.info({ metadata: metadata(n) }, 'epoch done')
        },
        check: async (count) => sink.expect(count),
        close: async () => {},
      }
    },
  }
}

/** @param {'internal' | 'external' | 'both'} routing */
export function coreLogger(what, routing, eventStore = {}) {
  return { name: `${CORE}, ${what}`, core: true, open: () => openLogger(routing, eventStore) }
}

async function openLogger(routing, eventStore) {
  const { open } = await import('../index.js')
  const { logger, sink } = countingPino()
  const core = await open({ eventStore, logging: { routing, external: { adapter: logger } } })
  core.flows.define({ name: 'bench', entry: { step: 'work', queue: 'log' }, steps: {} })
  let end = () => {}
  const ended = new Promise((resolve) => {
    end = resolve
  })
  // The step lasts as long as the benchmark, so that its logger can be used from outside.
  const step = new Promise((resolve) => {
    const work = async (_, context) => {
      resolve(context)
      await ended
    }
    core.worker('log', { work })
  })
  await core.flows.start('bench')
  const { runId, logger: own } = await step
  let recorded = 0
  return {
    log: async (count) => {
      for (let n = 0; n < count; n++) own.info('epoch done', metadata(n))
      await own.flush()
    },
    check: async (count) => {
      if (routing !== 'internal') sink.expect(count)
      if (routing === 'external') return
      const events = await core.store.query({ stream: `nq:flow:${runId}`, types: ['log.info'] })
      recorded += count
      if (events.length !== recorded) throw new Error(`${recorded} lines were logged, ${events.length} are recorded`)
    },
    close: async () => {
      end()
      await core.close()
    },
  }
}

function countingPino() {
  let lines = 0
  const write = () => {
    lines++
  }
  const expect = (count) => {
    if (lines !== count) throw new Error(`${count} lines were logged, ${lines} were written`)
    lines = 0
  }
  return { logger: pino({ level: 'debug' }, { write }), sink: { expect } }
}
