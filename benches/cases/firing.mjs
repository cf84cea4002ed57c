// How late the work of schedules begins: 10,000 of them, each once a minute; in a process of its own. The baseline calls
// functions, where the core records each firing and starts a run.

import { startChild } from '../child.mjs'
import { CORE } from '../subjects.mjs'

const SCHEDULES = 10_000

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function firingBenchmarks({ redis: { port, inspector }, scale }) {
  const count = SCHEDULES * Math.max(scale, 0.2)
  const seconds = Math.max(3, Math.round(10 * scale))
  const name = `${count.toLocaleString('en-US')} schedules`
  const metric = (which) => ({
    name: `${name}: delay of a firing, ${which}`,
    unit: 'ms',
    better: 'lower',
    value: (_, delays) => delays[which],
  })
  return [
    {
      name,
      needsCore: true,
      rounds: 3,
      warmUps: 0,
      variants: [
        variant('croner, which calls functions', 'croner'),
        variant(`${CORE}, in memory`, 'memory'),
        variant(`${CORE}, on Redis`, port),
      ],
      prepare: async () => await inspector.flushall(),
      work: async ({ where }) => {
        const child = await startChild('firing-probe.mjs', [where, count, seconds])
        await child.end()
        return child.first
      },
      check: async (_subject, _prepared, { firings }) => {
        // Those of a second are at its edge.
        const expected = (count / 60) * seconds
        if (Math.abs(firings - expected) > (count / 60) * 2 + 2) throw new Error(`${firings} firings, not ${expected}`)
      },
      metrics: [metric('p50'), metric('p99')],
    },
  ]
}

function variant(name, where) {
  return { name, core: where !== 'croner', open: async () => ({ where, close: async () => {} }) }
}
