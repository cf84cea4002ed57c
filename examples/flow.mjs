import { open } from 'nuxt-queue-core'

const core = await open()
core.flows.define({
  name: 'order',
  entry: { step: 'pack', queue: 'orders' },
  steps: {
    pack: { queue: 'orders', emits: ['packed'] },
    ship: { queue: 'orders', subscribes: ['packed'] },
  },
})
await core.worker('orders', {
  pack: async ({ items }, { flow }) => flow.emit('packed', { parcels: Math.ceil(items / 2) }),
  ship: async ({ parcels }, { flow, state }) => {
    const { by } = await flow.await('picked.up', { timeout: '2d' })
    await state.set('shipped', { parcels, by })
  },
})
const { runId } = await core.flows.start('order', { items: 3 })
await core.store.subscribe(
  `nq:flow:${runId}`,
  ({ id, type, data }) => {
    console.log(id, type, data)
    if (type === 'trigger.awaiting') core.flows.emit(runId, 'picked.up', { by: 'bike' })
    if (type === 'flow.completed') core.close()
  },
  { after: '0-0' },
)
