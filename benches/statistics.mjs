/** @param {number[]} values at least one */
export function median(values) {
  return quantile(values, 0.5)
}

/**
 * @param {number[]} values at least one
 * @param {number} share 0 … 1
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const position = (sorted.length - 1) * share
  const below = Math.floor(position)
  const above = Math.ceil(position)
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below)
}
