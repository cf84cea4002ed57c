// Which run is asked for: few of them often, most of them rarely, and the same again in every run of the benchmark.

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
