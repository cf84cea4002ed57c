import { describe, expect, test } from 'vitest'
import type { ScheduleOptions } from '../index.js'
import { nextInstant, previewSchedule } from '../lib/schedule.js'

const NOON = '2025-03-29T12:00:00Z'

test('a preview names what is odd', () => {
  const berlin: ScheduleOptions = { cron: '30 2 * * *', timezone: 'Europe/Berlin' }
  expect(previewSchedule(berlin, NOON, 2)).toEqual([
    { at: '2025-03-30T01:00:00.000Z', local: '2025-03-30T03:00:00+02:00', note: 'gap' },
    { at: '2025-03-31T00:30:00.000Z', local: '2025-03-31T02:30:00+02:00' },
  ])
  const both: ScheduleOptions = { ...berlin, dstOverlap: 'both' }
  expect(previewSchedule(both, '2025-10-25T12:00:00Z', 3).map(({ local, note }) => [local, note])).toEqual([
    ['2025-10-26T02:30:00+02:00', 'overlap'],
    ['2025-10-26T02:30:00+01:00', 'overlap'],
    ['2025-10-27T02:30:00+01:00', undefined],
  ])
})

test('a preview begins with its first moment, the next instant comes after it', () => {
  const daily: ScheduleOptions = { at: '12:00' }
  for (const noon of [NOON, new Date(NOON), Date.parse(NOON)]) {
    expect(previewSchedule(daily, noon, 1)).toEqual([
      { at: '2025-03-29T12:00:00.000Z', local: '2025-03-29T12:00:00+00:00' },
    ])
    expect(nextInstant(daily, noon)).toBe(Date.parse('2025-03-30T12:00:00Z'))
  }
  expect(previewSchedule(daily, Date.parse(NOON) + 0.5, 1)[0]?.at).toBe('2025-03-30T12:00:00.000Z')
  expect(nextInstant(daily, Date.parse(NOON) - 0.5)).toBe(Date.parse(NOON))
  expect(previewSchedule(daily, NOON)).toHaveLength(10)
  expect(previewSchedule(daily, NOON, 0)).toEqual([])
})

test('before 1970 and after its end', () => {
  expect(nextInstant({ interval: '1h' }, -1)).toBe(0)
  expect(nextInstant({ interval: '1h' }, 0)).toBe(3_600_000)
  expect(nextInstant({ interval: '1h', end: '2025-01-01' }, NOON)).toBeUndefined()
  expect(previewSchedule({ interval: '1h', end: '2025-01-01' }, NOON)).toEqual([])
  expect(nextInstant({ cron: '* * * * *' }, Number.MAX_VALUE)).toBeUndefined()
})

describe('refused', () => {
  const cyclic: Record<string, unknown> = { cron: '* * * * *' }
  cyclic.self = cyclic

  test.each<[unknown, RegExp]>([
    [{ cron: '0 25 * * *' }, /^cron "0 25 \* \* \*", hour \(position 3\): 25 is not within 0-23\.$/],
    [{ cron: '0 0 30 2 *' }, /never fires/],
    [{ at: '02:00', timezone: 'Europe/Berln' }, /did you mean "Europe\/Berlin"\?/],
    [{ cron: '* * * * *', interval: '1h', gap: 'skip' }, /cron and interval contradict.*gap is about times of day/],
    [{ interval: '500ms' }, /the shortest is one second/],
    [{ every: { seconds: 0.5 } }, /every\.seconds is 0\.5; expected a whole number/],
    [{ every: { seconds: Number.NaN } }, /every\.seconds is NaN/],
    [{ cron: 5n }, /schedule\.cron is a BigInt/],
    [{ cron: () => '* * * * *' }, /schedule\.cron is a function/],
    [{ crom: '* * * * *' }, /There is no option "crom"; known are cron/],
    [{ cron: '\ud800 * * * *' }, /can't be read as JSON/],
    [cyclic, /schedule\.self/],
    [{}, /Nothing says when it fires/],
    [null, /The schedule is null/],
    ['* * * * *', /The schedule is "\* \* \* \* \*"; expected an object/],
    [[], /The schedule is an array/],
  ])('%o', (options, message) => {
    const refusal = expect.objectContaining({ code: 'NQ_VALIDATION', message: expect.stringMatching(message) })
    expect(() => nextInstant(options as ScheduleOptions, NOON)).toThrow(refusal)
    expect(() => previewSchedule(options as ScheduleOptions, NOON)).toThrow(refusal)
  })

  test.each([-1, 1.5, Number.NaN, 10_001, '5', null])('a count of %o', (count) => {
    const refusal = expect.objectContaining({ code: 'NQ_VALIDATION', message: expect.stringMatching(/^count is/) })
    expect(() => previewSchedule({ at: '12:00' }, NOON, count as number)).toThrow(refusal)
  })

  test.each([undefined, 'noon', Number.NaN, new Date(Number.NaN)])('the moment %o', (moment) => {
    const refusal = expect.objectContaining({ code: 'NQ_VALIDATION' })
    expect(() => previewSchedule({ at: '12:00' }, moment as Date)).toThrow(refusal)
    expect(() => nextInstant({ at: '12:00' }, moment as Date)).toThrow(refusal)
  })
})
