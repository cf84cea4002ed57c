import { expect, test } from 'vitest'
import { toDuration } from '../lib/duration.js'

test.each([
  [0, 0],
  [250, 250],
  [1.4, 1],
  ['0s', 0],
  ['250ms', 250],
  ['10s', 10_000],
  ['59.9s', 59_900],
  ['90m', 5_400_000],
  ['24h', 86_400_000],
  ['2d', 172_800_000],
  ['1w', 604_800_000],
  // 1.1 × 1000 is a little more than 1100.
  ['1.1s', 1100],
])('%s', (given, ms) => {
  expect(toDuration(given, 'timeout')).toBe(ms)
})

test.each([
  '',
  '10',
  's',
  '10 s',
  '-1s',
  '1y',
  '1S',
  '1e3s',
  '.5s',
  '1h30m',
  `${'9'.repeat(400)}s`,
  -1,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  null,
  undefined,
  true,
  1n,
  Symbol('s'),
  new Date(0),
  {},
])('refused: %s', (given) => {
  expect(() => toDuration(given as number, 'timeout')).toThrow(
    expect.objectContaining({ code: 'NQ_VALIDATION', message: expect.stringMatching(/^timeout is .*"90m"/) }),
  )
})
