// What an open await costs in memory, and how long it takes to answer one of many; in a process of its own.

import { startChild } from '../child.mjs'
import { CORE } from '../subjects.mjs'

const AWAITS = 10_000

/** @param {{ redis: { port: number, inspector: import('ioredis').Redis }, scale: number }} context */
export function awaitBenchmarks({ redis, scale }) {
  const count = AWAITS * Math.max(scale, 0.2)
  return [
    probe('waiting, in memory', count, { port: 0, kind: 'waiting' }),
    probe('suspended, in memory', count, { port: 0, kind: 'suspended' }),
    probe('suspended, on Redis', count, { port: redis.port, kind: 'suspended', inspector: redis.inspector }),
  ]
}

function probe(which, count, { port, kind, inspector }) {
  const name = `${count.toLocaleString('en-US')} open awaits, ${which}`
  return {
    name,
    needsCore: true,
    rounds: 5,
    warmUps: 0,
    variants: [{ name: CORE, core: true, open: async () => ({ close: async () => {} }) }],
    // Each round opens the same awaits.
    prepare: async () => await inspector?.flushall(),
    work: async () => {
      const child = await startChild('await-probe.mjs', [port, kind, count])
      await child.end()
      return child.first
    },
    check: async () => {},
    metrics: [
      {
        name: `${name}: memory of one`,
        unit: 'kB',
        better: 'lower',
        value: (_, { bytes }) => bytes / 1000,
        coreOnly: true,
      },
      { name: `${name}: answer one`, unit: 'ms', better: 'lower', value: (_, { ms }) => ms, coreOnly: true },
    ],
  }
}
