// Which run is asked for: few of them often, most of them rarely, and the same again in every run of the benchmark.

/**
 * Mulberry32: numbers in 0 … 1, always the same ones for a seed.
 *
 * @param {number} seed
 * @returns {() => number}
 */
export function seededRandom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * Zipf's law with exponent 1: index `i` comes with a weight of `1 / (i + 1)`.
 *
 * @param {number} count how many indexes there are
 * @param {() => number} random
 * @returns {() => number} an index, 0 … count - 1
 */
export function zipf(count, random) {
  const sums = new Float64Array(count)
  for (let i = 0, sum = 0; i < count; i++) {
    sum += 1 / (i + 1)
    sums[i] = sum
  }
  return () => firstAbove(sums, random() * sums[count - 1])
}

function firstAbove(sorted, value) {
  let low = 0
  let high = sorted.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] > value) high = middle
    else low = middle + 1
  }
  return low
}
