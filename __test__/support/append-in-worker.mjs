/** A worker thread that appends numbers to the stream it is given and then has nothing left to do. */

import { workerData } from 'node:worker_threads'
import { EventStore } from 'nuxt-queue-core'

const { options, stream, first, count } = workerData
const store = await EventStore.open(options)
await store.subscribe('*', () => {})
for (let n = first; n < first + count; n++) void store.append(stream, { type: 'note.added', data: { n } })
