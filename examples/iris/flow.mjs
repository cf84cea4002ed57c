// @ts-check
import { readFile } from 'node:fs/promises'
import { parseCsv, split, standardise } from './data.mjs'
import { accuracy, confusion, createModel, loss, trainEpoch } from './softmax.mjs'

/**
 * The state of a run, key by key.
 *
 * @typedef {object} IrisState
 * @property {'training' | 'trained' | 'complete'} status
 * @property {{ train: number, heldOut: number }} split rows in each part
 * @property {{ untilEpoch: number }} warmup present while the learning rate still rises
 * @property {number} epoch
 * @property {number} loss mean cross-entropy on the training rows
 * @property {number} accuracy on the held-out rows, 0..1
 * @property {{ accuracy: number, atEpoch: number }} goal present from the epoch that reached it
 * @property {Record<string, number[]>} weights a class's weight for each column
 * @property {Record<string, Record<string, number>>} confusion actual → predicted → rows
 * @property {{ name: string, approvedBy: string }} model the one that was approved
 */

/**
 * Where the rows are and how they are split. Events carry this instead of the rows: any step, in any process, reads the
 * same.
 *
 * @typedef {{ file: string, seed: number, heldOut: number }} Source
 * @typedef {Source & { epochs: number, learningRate: number, warmup: number, goal: number }} Settings
 * @typedef {{ accuracy: number, correct: number, rows: number }} Score on the held-out rows
 * @typedef {{ approved: boolean, by: string }} Approval
 * @typedef {import('nuxt-queue-core').WorkerContext<IrisState>} Context
 */

/** What a run waits for before it saves its model. */
export const APPROVAL = 'approval.training'

// The seed is the year of the data; it was not picked for its accuracy.
/** @type {Settings} */
export const SETTINGS = {
  ...{ file: 'iris.csv', seed: 1936, heldOut: 0.3 },
  ...{ epochs: 120, learningRate: 0.5, warmup: 10, goal: 0.9 },
}

/**
 * Trains a softmax regression, has it approved by a human, and saves it.
 *
 * @type {import('nuxt-queue-core').FlowDefinition}
 */
export const irisFlow = {
  name: 'iris-training',
  entry: { step: 'load', queue: 'ml' },
  steps: {
    load: { queue: 'ml', emits: ['data.loaded'] },
    train: { queue: 'ml', subscribes: ['data.loaded'], emits: ['model.trained'] },
    approve: { queue: 'ml', subscribes: ['model.trained'], emits: ['model.approved'] },
    save: { queue: 'ml', subscribes: ['model.approved'] },
  },
}

/** The steps of {@link irisFlow} by name. */
export const irisSteps = { load, train, approve, save }

/**
 * @param {Settings} settings
 * @param {Context} context
 */
async function load(settings, { state, logger, flow }) {
  const parts = await readParts(settings)
  const sizes = { train: parts.train.rows.length, heldOut: parts.heldOut.rows.length }
  logger.info(`read ${sizes.train + sizes.heldOut} flowers of ${parts.train.classes.length} species`)
  await state.set('split', sizes)
  await flow.emit('data.loaded', settings)
  return sizes
}

/**
 * @param {Settings} settings
 * @param {Context} context
 */
async function train(settings, { state, logger, flow }) {
  const { train, heldOut } = await readParts(settings)
  const model = createModel(train)
  await state.setBatch({ status: 'training', warmup: { untilEpoch: settings.warmup } })
  let reached = false
  for (let epoch = 1; epoch <= settings.epochs; epoch++) {
    const rate = settings.learningRate * Math.min(1, epoch / settings.warmup)
    const gradient = trainEpoch(model, train, rate)
    const progress = { epoch, loss: loss(model, train), accuracy: accuracy(model, heldOut) }

    logger.debug(`rate ${rate.toFixed(2)}, gradient ${gradient.toFixed(4)}`)
    await state.setBatch(progress)
    if (epoch === settings.warmup) await state.delete('warmup')
    if (!reached && progress.accuracy >= settings.goal) {
      reached = true
      logger.info(`goal reached: accuracy ${progress.accuracy.toFixed(3)}`)
      await state.set('goal', { accuracy: settings.goal, atEpoch: epoch })
    }
    if (epoch % 20 === 0) logger.info(`${epoch} of ${settings.epochs} epochs done`, progress)
  }
  const weights = Object.fromEntries(train.classes.map((name, label) => [name, model.weights[label]]))
  await state.setBatch({ status: 'trained', weights, confusion: confusion(model, heldOut) })
  const share = accuracy(model, heldOut)
  /** @type {Score} */
  const score = { accuracy: share, correct: Math.round(share * heldOut.rows.length), rows: heldOut.rows.length }
  await flow.emit('model.trained', score)
  return score
}

/**
 * Waits for a human, however long that takes and whichever process is there then. Nothing stands before the await: a
 * step that goes on elsewhere begins from the top.
 *
 * @param {Score} score
 * @param {Context} context
 */
async function approve(score, { logger, flow }) {
  /** @type {Approval} */
  const { approved, by } = await flow.await(APPROVAL, { timeout: '24h', data: score })
  if (!approved) throw new Error(`${by} declined the model`)
  logger.info(`${by} approved the model`)
  await flow.emit('model.approved', { ...score, by })
}

/**
 * @param {Score & { by: string }} score
 * @param {Context} context
 */
async function save({ by, ...score }, { state, logger }) {
  await state.setBatch({ status: 'complete', model: { name: `iris-${SETTINGS.seed}`, approvedBy: by } })
  logger.info(`${score.correct} of ${score.rows} held-out flowers named right`)
  return score
}

/** @param {Source} source */
async function readParts({ file, seed, heldOut }) {
  const csv = await readFile(new URL(file, import.meta.url), 'utf8')
  return standardise(split(parseCsv(csv), { heldOut, seed }))
}
