// What a log line costs, from the call until it is where it belongs.

import { coreLogger, plainPino } from '../loggers.mjs'

/** @param {{ redis: { port: number }, scale: number }} context */
export function logBenchmarks({ redis: { port }, scale }) {
  const count = Math.max(1, Math.round(5_000 * scale))
  const redis = { adapter: 'redis', redis: { host: '127.0.0.1', port } }
  const name = 'log line'
  return [
    {
      name,
      variants: [
        plainPino(),
        coreLogger('to pino', 'external'),
        coreLogger('into the run, in memory', 'internal'),
        coreLogger('both, in memory', 'both'),
        coreLogger('both, on Redis', 'both', redis),
      ],
      work: (subject) => subject.log(count),
      check: (subject) => subject.check(count),
      metrics: [{ name, unit: 'µs', better: 'lower', value: (ms) => (ms * 1000) / count }],
    },
  ]
}
