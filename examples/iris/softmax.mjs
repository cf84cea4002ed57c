// @ts-check
/** @typedef {import('./data.mjs').Dataset} Dataset */

/**
 * Softmax regression (multinomial logistic regression).
 *
 * @typedef {object} Model
 * @property {number[][]} weights `classes × columns`
 * @property {number[]} bias one a class
 */

/**
 * The untrained model: all zeros, so it gives every class the same probability.
 *
 * @param {Dataset} dataset
 * @returns {Model}
 */
export function createModel(dataset) {
  return {
    weights: dataset.classes.map(() => dataset.columns.map(() => 0)),
    bias: dataset.classes.map(() => 0),
  }
}

/**
 * One step of gradient descent over the whole dataset. Changes the model.
 *
 * @param {Model} model
 * @param {Dataset} dataset
 * @param {number} learningRate
 * @returns {number} the length of the gradient before the step
 */
export function trainEpoch(model, dataset, learningRate) {
  const gradient = createModel(dataset)
  for (const [index, row] of dataset.rows.entries()) {
    addErrors(gradient, row, probabilities(model, row), dataset.labels[index])
  }
  return descend(model, gradient, learningRate, dataset.rows.length)
}

/**
 * @param {Model} model
 * @param {Dataset} dataset
 * @returns {number} mean cross-entropy in nats; `ln(classes)` for the untrained model
 */
export function loss(model, dataset) {
  const losses = dataset.rows.map((row, index) => {
    const chance = probabilities(model, row)[dataset.labels[index]]
    return -Math.log(Math.max(chance, Number.MIN_VALUE))
  })
  return losses.reduce((sum, value) => sum + value, 0) / losses.length
}

/**
 * @param {Model} model
 * @param {readonly number[]} row
 * @returns {number[]} one probability a class, they sum to 1
 */
export function probabilities(model, row) {
  const scores = model.weights.map((weights, label) => model.bias[label] + dot(weights, row))
  // Without the shift a large score overflows `exp`; the result is the same.
  const highest = Math.max(...scores)
  let total = 0
  for (let label = 0; label < scores.length; label++) {
    scores[label] = Math.exp(scores[label] - highest)
    total += scores[label]
  }
  return scores.map((power) => power / total)
}

/**
 * @param {Model} model
 * @param {readonly number[]} row
 * @returns {number} index of the likeliest class
 */
export function predict(model, row) {
  const chances = probabilities(model, row)
  return chances.indexOf(Math.max(...chances))
}

/**
 * @param {Model} model
 * @param {Dataset} dataset
 * @returns {number} share of the rows whose class is predicted right, 0..1
 */
export function accuracy(model, dataset) {
  const hits = dataset.rows.filter((row, index) => predict(model, row) === dataset.labels[index])
  return hits.length / dataset.rows.length
}

/**
 * How often each class was taken for which; pairs that never occurred are left out.
 *
 * @param {Model} model
 * @param {Dataset} dataset
 * @returns {Record<string, Record<string, number>>} actual class → predicted class → rows
 */
export function confusion(model, dataset) {
  /** @type {Record<string, Record<string, number>>} */
  const table = Object.fromEntries(dataset.classes.map((name) => [name, {}]))
  for (const [index, row] of dataset.rows.entries()) {
    const actual = table[dataset.classes[dataset.labels[index]]]
    const predicted = dataset.classes[predict(model, row)]
    actual[predicted] = (actual[predicted] ?? 0) + 1
  }
  return table
}

/**
 * @param {Model} gradient
 * @param {readonly number[]} row
 * @param {readonly number[]} chances
 * @param {number} label
 */
function addErrors(gradient, row, chances, label) {
  for (let index = 0; index < chances.length; index++) {
    const error = chances[index] - (index === label ? 1 : 0)
    const weights = gradient.weights[index]
    gradient.bias[index] += error
    for (let column = 0; column < row.length; column++) weights[column] += error * row[column]
  }
}

/**
 * @param {readonly number[]} weights
 * @param {readonly number[]} row
 */
function dot(weights, row) {
  let sum = 0
  for (let column = 0; column < row.length; column++) sum += weights[column] * row[column]
  return sum
}

/**
 * @param {Model} model
 * @param {Model} gradient summed over the rows
 * @param {number} learningRate
 * @param {number} count rows
 * @returns {number} the length of the mean gradient
 */
function descend(model, gradient, learningRate, count) {
  let squares = 0
  for (const [label, weights] of gradient.weights.entries()) {
    const slopes = [...weights, gradient.bias[label]].map((sum) => sum / count)
    for (const slope of slopes) squares += slope ** 2
    for (const column of weights.keys()) model.weights[label][column] -= learningRate * slopes[column]
    model.bias[label] -= learningRate * slopes[weights.length]
  }
  return Math.sqrt(squares)
}
