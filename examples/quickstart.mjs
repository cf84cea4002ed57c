import { EventStore } from 'nuxt-queue-core'

const store = await EventStore.open()
await store.append('nq:flow:order-7', { type: 'flow.started', runId: 'order-7', data: { input: { items: 3 } } })
const state = store.state('order-7')
await state.set('status', 'packed')
await state.set('status', 'shipped')
const [packed] = await state.history('status')
console.log(await state.get('status'), '· before:', await state.at(packed.id)) // shipped · before: { status: 'packed' }
for (const event of await store.query({ stream: 'nq:flow:order-7' })) console.log(event.id, event.type, event.data)
await store.close()
