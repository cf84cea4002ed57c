// @ts-check
import { seededRandom, shuffled } from './random.mjs'

/**
 * Rows of numbers with the index of each row's class.
 *
 * @typedef {object} Dataset
 * @property {string[]} columns names of the features, one a column
 * @property {string[]} classes names of the classes, in order of first appearance
 * @property {number[][]} rows `rows × columns`
 * @property {number[]} labels index into `classes`, one a row
 */

/**
 * Reads a CSV with a header line, numbers in all columns but the last and the class name in the last.
 *
 * @param {string} text
 * @returns {Dataset}
 * @throws {Error} naming the line, when it hasn't the header's columns or a number can't be read
 */
export function parseCsv(text) {
  const [header, ...lines] = text.trim().split(/\r?\n/)
  const columns = header.split(',').slice(0, -1)
  /** @type {Dataset} */
  const dataset = { columns, classes: [], rows: [], labels: [] }
  for (const [index, line] of lines.entries()) {
    const cells = line.split(',')
    const name = cells.pop() ?? ''
    const row = cells.map((cell) => (cell.trim() === '' ? Number.NaN : Number(cell)))
    if (name === '' || row.length !== columns.length || !row.every(Number.isFinite)) {
      throw new Error(`line ${index + 2} is not ${columns.length} numbers and a class name: ${line}`)
    }
    if (!dataset.classes.includes(name)) dataset.classes.push(name)
    dataset.rows.push(row)
    dataset.labels.push(dataset.classes.indexOf(name))
  }
  return dataset
}

/**
 * Splits so that both parts hold the same share of every class.
 *
 * @param {Dataset} dataset
 * @param {{ heldOut: number, seed: number }} options `heldOut`: share of the rows kept from training, 0..1
 * @returns {{ train: Dataset, heldOut: Dataset }}
 */
export function split(dataset, { heldOut, seed }) {
  const random = seededRandom(seed)
  const kept = /** @type {number[]} */ ([])
  const used = /** @type {number[]} */ ([])
  for (const label of dataset.classes.keys()) {
    const members = shuffled(
      [...dataset.rows.keys()].filter((row) => dataset.labels[row] === label),
      random,
    )
    const count = Math.round(members.length * heldOut)
    kept.push(...members.slice(0, count))
    used.push(...members.slice(count))
  }
  return { train: select(dataset, used), heldOut: select(dataset, kept) }
}

/**
 * Scales every column of both parts by the mean and deviation of the training part alone: the held-out
 * rows must not leak into what the model learns.
 *
 * @param {{ train: Dataset, heldOut: Dataset }} parts
 * @returns {{ train: Dataset, heldOut: Dataset }}
 */
export function standardise({ train, heldOut }) {
  const scales = train.columns.map((_, column) => scaleOf(train.rows.map((row) => row[column])))
  /** @param {Dataset} part */
  const scaled = (part) => ({
    ...part,
    rows: part.rows.map((row) => row.map((value, column) => (value - scales[column].mean) / scales[column].deviation)),
  })
  return { train: scaled(train), heldOut: scaled(heldOut) }
}

/** @param {number[]} values */
function scaleOf(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return { mean, deviation: Math.sqrt(variance) || 1 }
}

/**
 * @param {Dataset} dataset
 * @param {number[]} indices
 * @returns {Dataset}
 */
function select(dataset, indices) {
  return {
    ...dataset,
    rows: indices.map((index) => dataset.rows[index]),
    labels: indices.map((index) => dataset.labels[index]),
  }
}
