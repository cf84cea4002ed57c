/** Numbers that look random and are the same in every run with the same seed. JavaScript, for child processes too. */

/**
 * A generator (mulberry32). `upTo(n)` gives whole numbers from 0 to n - 1.
 *
 * @param {number} seed
 */
export function randomFrom(seed) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    /** @param {number} n */
    upTo: (n) => Math.floor(next() * n),
  }
}
