/** Numbers that look random and are the same in every run with the same seed. */

/** A generator (mulberry32). `upTo(n)` gives whole numbers from 0 to n - 1. */
export function randomFrom(seed: number): { upTo(n: number): number } {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { upTo: (n) => Math.floor(next() * n) }
}
