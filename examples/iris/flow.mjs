// @ts-check
import { parseCsv, split, standardise } from './data.mjs'
import { accuracy, confusion, createModel, loss, trainEpoch } from './softmax.mjs'
import { messageOf, recordFailure, runStep } from './step.mjs'

/**
 * @typedef {import('./data.mjs').Dataset} Dataset
 * @typedef {import('./softmax.mjs').Model} Model
 * @typedef {{ train: Dataset, heldOut: Dataset }} Parts
 */

/**
 * The state of a run, key by key.
 *
 * @typedef {object} IrisState
 * @property {{ train: number, heldOut: number }} split rows in each part
 * @property {{ untilEpoch: number }} warmup present while the learning rate still rises
 * @property {number} epoch
 * @property {number} loss mean cross-entropy on the training rows
 * @property {number} accuracy on the held-out rows, 0..1
 * @property {{ accuracy: number, atEpoch: number }} goal present from the epoch that reached it
 * @property {Record<string, number[]>} weights a class's weight for each column
 * @property {Record<string, Record<string, number>>} confusion actual → predicted → rows
 */

/** @typedef {import('./step.mjs').StepContext<IrisState>} Context */

const FLOW_NAME = 'iris-training'

// The seed is the year of the data; it was not picked for its accuracy.
const SETTINGS = { seed: 1936, heldOut: 0.3, epochs: 120, learningRate: 0.5, warmup: 10, goal: 0.9 }

/**
 * Trains a softmax regression as one flow run in the stream `nq:flow:{runId}`: load, train, evaluate.
 *
 * @param {import('nuxt-queue-core').EventStore} store
 * @param {string} runId must be new
 * @param {string} csv the text of the data file
 * @returns {Promise<{ accuracy: number, correct: number, rows: number }>} on the held-out rows
 * @throws {import('nuxt-queue-core').NuxtQueueError} `NQ_CONFLICT` if the run exists already
 */
export async function trainIris(store, runId, csv) {
  const run = { store, runId, flowName: FLOW_NAME, stream: `nq:flow:${runId}` }
  const envelope = { runId, flowName: FLOW_NAME }
  // '0-0' stands for "no such stream yet": two runs can't end up in one timeline.
  const isNew = { expectedLastId: '0-0' }
  await store.append(run.stream, { ...envelope, type: 'flow.started', data: { input: SETTINGS } }, isNew)
  try {
    const parts = await runStep(run, 'load', (context) => load(context, csv))
    const model = await runStep(run, 'train', (context) => train(context, parts))
    const result = await runStep(run, 'evaluate', (context) => evaluate(context, model, parts.heldOut))
    await store.append(run.stream, { ...envelope, type: 'flow.completed', data: { result } })
    return result
  } catch (error) {
    await recordFailure(store, run.stream, { ...envelope, type: 'flow.failed', data: { error: messageOf(error) } })
    throw error
  }
}

/**
 * @param {Context} context
 * @param {string} csv
 */
async function load({ state, logger }, csv) {
  const dataset = parseCsv(csv)
  logger.info(`read ${dataset.rows.length} flowers of ${dataset.classes.length} species`)
  const parts = standardise(split(dataset, SETTINGS))
  const sizes = { train: parts.train.rows.length, heldOut: parts.heldOut.rows.length }
  await state.set('split', sizes)
  logger.debug('scaled every column by its training mean and deviation')
  return { output: parts, result: sizes }
}

/**
 * @param {Context} context
 * @param {Parts} parts
 */
async function train({ state, logger }, { train, heldOut }) {
  const model = createModel(train)
  await state.set('warmup', { untilEpoch: SETTINGS.warmup })
  let reached = false
  for (let epoch = 1; epoch <= SETTINGS.epochs; epoch++) {
    const rate = SETTINGS.learningRate * Math.min(1, epoch / SETTINGS.warmup)
    const gradient = trainEpoch(model, train, rate)
    const progress = { epoch, loss: loss(model, train), accuracy: accuracy(model, heldOut) }

    logger.debug(`rate ${rate.toFixed(2)}, gradient ${gradient.toFixed(4)}`)
    await state.setBatch(progress)
    if (epoch === SETTINGS.warmup) await state.delete('warmup')
    if (!reached && progress.accuracy >= SETTINGS.goal) {
      reached = true
      logger.info(`goal reached: accuracy ${progress.accuracy.toFixed(3)}`)
      await state.set('goal', { accuracy: SETTINGS.goal, atEpoch: epoch })
    }
    if (epoch % 20 === 0) logger.info(`${epoch} of ${SETTINGS.epochs} epochs done`, progress)
  }
  await state.set('weights', Object.fromEntries(train.classes.map((name, label) => [name, model.weights[label]])))
  return { output: model, result: { epochs: SETTINGS.epochs, loss: loss(model, train) } }
}

/**
 * @param {Context} context
 * @param {Model} model
 * @param {Dataset} heldOut
 */
async function evaluate({ state, logger }, model, heldOut) {
  const rows = heldOut.rows.length
  const share = accuracy(model, heldOut)
  const result = { accuracy: share, correct: Math.round(share * rows), rows }
  await state.set('confusion', confusion(model, heldOut))
  logger.info(`${result.correct} of ${rows} held-out flowers named right`)
  return { output: result, result }
}
