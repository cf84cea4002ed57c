// Flows that tests of several processes share.

/** Waits for an approval, then ships. */
export const order = (queue) => ({
  name: 'order',
  entry: { step: 'approve', queue },
  steps: {
    approve: { queue, emits: ['approved'] },
    ship: { queue, subscribes: ['approved'] },
  },
})

/** Five steps, one after the other. */
export const chain = (queue) => ({
  name: 'chain',
  entry: { step: 'step-1', queue },
  steps: Object.fromEntries(
    [1, 2, 3, 4, 5].map((n) => [
      `step-${n}`,
      { queue, emits: n < 5 ? [`done-${n}`] : [], subscribes: n > 1 ? [`done-${n - 1}`] : [] },
    ]),
  ),
})

/** Two flows of one step, for whoever subscribes them. */
export const fulfilment = (queue) =>
  ['pack', 'bill'].map((name) => ({ name, entry: { step: name, queue }, steps: { [name]: { queue } } }))

/** Three steps, one after the other, each in a queue of its own. */
export const pipeline = () => ({
  name: 'pipeline',
  entry: { step: 'load', queue: 'api' },
  steps: {
    load: { queue: 'api', emits: ['loaded'] },
    train: { queue: 'gpu', subscribes: ['loaded'], emits: ['trained'] },
    save: { queue: 'disk', subscribes: ['trained'], emits: [] },
  },
})
