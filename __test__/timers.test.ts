/** Callbacks at an instant, by the system's clock and by one that stands still. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { timersOf } from '../lib/timers.js'
import { onSettle, VirtualClock } from '../lib/virtual-clock.js'
import { runCode } from './support/child.js'

describe("the system's clock", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test.each([1, 59_999, 60_000, 86_400_000, 2 ** 31 + 5, 60 * 86_400_000])('calls back after %i ms', (ms) => {
    const fired = vi.fn()
    timersOf(undefined).at(ms, fired)
    vi.advanceTimersByTime(ms - 1)
    expect(fired).toHaveBeenCalledTimes(0)
    vi.advanceTimersByTime(1)
    expect(fired).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(200_000)
    expect(fired).toHaveBeenCalledTimes(1)
  })

  test('calls back soon for what is past, never within the call', () => {
    const fired = vi.fn()
    timersOf(undefined).at(-5, fired)
    expect(fired).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(fired).toHaveBeenCalledOnce()
  })

  test('does not call back once it is canceled, also after it was armed again', () => {
    const fired = vi.fn()
    const cancel = timersOf(undefined).at(2 ** 32, fired)
    vi.advanceTimersByTime(2 ** 31)
    cancel()
    vi.advanceTimersByTime(2 ** 32)
    expect(fired).not.toHaveBeenCalled()
    cancel()
  })

  test('follows a wall clock that was set on, or back', () => {
    const fired = vi.fn()
    timersOf(undefined).at(10_000_000, fired)
    vi.setSystemTime(9_990_000)
    vi.advanceTimersByTime(60_000)
    expect(fired).toHaveBeenCalledTimes(1)
    timersOf(undefined).at(Date.now() + 5000, fired)
    vi.setSystemTime(0)
    vi.advanceTimersByTime(60_000)
    expect(fired).toHaveBeenCalledTimes(1)
  })
})

test("the system's timers do not keep Node alive", async () => {
  const ended = await runCode(`
    import { timersOf } from './dist/timers.js'
    timersOf(undefined).at(Date.now() + 3_600_000, () => {})
    timersOf(undefined).at(Date.now() + 2 ** 32, () => {})
    console.log('done')`)
  expect(ended).toMatchObject({ code: 0, stdout: 'done\n' })
})

test.each([null, 5, {}, 'now', new Date()])('%s is no clock', (clock) => {
  const refused = expect.objectContaining({ code: 'NQ_CONFIG' })
  expect(() => timersOf(clock)).toThrow(refused)
  expect(() => onSettle(clock, async () => {})).toThrow(refused)
})

describe('a clock that is moved', () => {
  const START = Date.parse('2025-11-05T10:00:00Z')
  let clock: VirtualClock
  let timers: ReturnType<typeof timersOf>
  let fired: string[]

  beforeEach(() => {
    clock = new VirtualClock(START)
    timers = timersOf(clock)
    fired = []
  })

  const note = (name: string) => () => {
    fired.push(`${name}@${clock.now() - START}`)
  }

  test('shows the new time at once where nothing is due on the way', () => {
    clock.advance('24h')
    expect(clock.now()).toBe(START + 86_400_000)
    clock.advance(5)
    expect(clock.now()).toBe(START + 86_400_005)
    clock.set(START)
    expect(clock.now()).toBe(START)
    timers.at(START + 1000, note('later'))
    clock.advance(999)
    expect(clock.now()).toBe(START + 999)
  })

  test('fires in order of the instant, then of creation, each at its own instant', async () => {
    timers.at(START + 30, note('c'))
    timers.at(START + 10, note('a'))
    timers.at(START + 30, note('d'))
    timers.at(START + 20, note('b'))
    timers.at(START + 41, note('later'))
    const moved = clock.advance(40)
    expect(fired).toEqual([])
    expect(clock.now()).toBe(START + 10)
    await moved
    expect(fired).toEqual(['a@10', 'b@20', 'c@30', 'd@30'])
    expect(clock.now()).toBe(START + 40)
  })

  test('fires what is made due on the way', async () => {
    timers.at(START + 10, () => {
      note('a')()
      timers.at(START + 15, note('b'))
      timers.at(START + 10, note('a2'))
      timers.at(START + 50, note('later'))
    })
    timers.at(START + 20, note('c'))
    await clock.advance(20)
    expect(fired).toEqual(['a@10', 'a2@10', 'b@15', 'c@20'])
  })

  test('fires no timer that was canceled, also by one before it', async () => {
    const cancel = timers.at(START + 10, note('never'))
    timers.at(START + 5, () => cancel())
    await clock.advance(20)
    cancel()
    expect(fired).toEqual([])
  })

  test('fires what is due already without being moved, never within the call', async () => {
    timers.at(START, note('now'))
    timers.at(0, note('past'))
    expect(fired).toEqual([])
    await nextTurn()
    await nextTurn()
    await nextTurn()
    expect(fired).toEqual(['past@0', 'now@0'])
  })

  test('waits for everyone at each instant', async () => {
    const work: Array<Promise<void>> = []
    const settle = async () => {
      await Promise.all(work.splice(0))
    }
    const quit = onSettle(clock, settle)
    const takes = (name: string, turns: number) => () => {
      const run = async () => {
        for (let turn = 0; turn < turns; turn++) await nextTurn()
        note(name)()
        if (name === 'a') timers.at(clock.now() + 5, takes('b', 9))
      }
      work.push(run())
    }
    timers.at(START + 10, takes('a', 20))
    timers.at(START + 30, takes('c', 20))
    await clock.advance('1s')
    expect(fired).toEqual(['a@10', 'b@15', 'c@30'])

    work.push(nextTurn().then(note('by itself')))
    await clock.settle()
    expect(fired.at(-1)).toBe('by itself@1000')

    quit()
    work.push(new Promise(() => {}))
    await clock.advance(1)
  })

  test('waits for one whom another woke last', async () => {
    let wake = 0
    onSettle(clock, async () => {
      if (wake === 2) note('first')()
      wake = wake === 2 ? 3 : wake
    })
    onSettle(clock, async () => {
      if (wake === 1) wake = 2
    })
    timers.at(START + 10, () => {
      wake = 1
    })
    await clock.advance(10)
    expect(fired).toEqual(['first@10'])
  })

  test('moves that are not awaited add up', async () => {
    timers.at(START + 15, note('a'))
    timers.at(START + 25, note('b'))
    clock.advance(10)
    clock.advance(10)
    await clock.advance(10)
    expect(fired).toEqual(['a@15', 'b@25'])
    expect(clock.now()).toBe(START + 30)
  })

  test('goes back without firing anything twice', async () => {
    timers.at(START + 10, note('a'))
    timers.at(START + 20, note('b'))
    await clock.advance(15)
    await clock.set(START)
    expect(clock.now()).toBe(START)
    await clock.set(START + 20)
    expect(fired).toEqual(['a@10', 'b@20'])
  })

  test('tells what a callback or someone who settles throws, and goes on with the next move', async () => {
    timers.at(START + 10, () => {
      throw new Error('callback')
    })
    timers.at(START + 20, note('b'))
    await expect(clock.advance(30)).rejects.toThrow('callback')
    await clock.settle()
    expect(fired).toEqual(['b@20'])
    expect(clock.now()).toBe(START + 30)
    const quit = onSettle(clock, () => Promise.reject(new Error('settle')))
    await expect(clock.advance(1)).rejects.toThrow('settle')
    quit()
    await clock.advance(1)
  })

  test('goes far', async () => {
    timers.at(START + 400 * 365 * 86_400_000, note('a'))
    await clock.advance(`${401 * 365}d`)
    expect(fired).toHaveLength(1)
    await clock.advance(1e300)
    expect(clock.now()).toBe(Number.MAX_SAFE_INTEGER)
  })
})
