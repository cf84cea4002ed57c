/**
 * A webhook as GitHub sends it, from the request to the end of the run that it starts. The program is its own sender:
 * it signs some requests, and sends them to its own server.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { open, toNodeHandler } from 'nuxt-queue-core'
import { sender } from './sender.mjs'

const url = process.env.REDIS_URL
const secret = randomBytes(32).toString('hex')
const core = await open(url ? { eventStore: { adapter: 'redis', redis: { url } } } : {})

await core.registerTrigger({
  name: 'repository.pushed',
  type: 'webhook',
  endpoint: { path: '/webhooks/github', auth: { type: 'signature', provider: 'github', secret } },
  transform: ({ after, repository }) => ({ commit: after, repository: repository.name }),
  config: { filter: ({ ref }) => ref === 'refs/heads/main' },
})
core.flows.define({
  name: 'deploy',
  entry: { step: 'build', queue: 'deploys' },
  steps: { build: { queue: 'deploys' }, release: { queue: 'deploys', subscribes: ['built'] } },
  triggers: { subscribe: ['repository.pushed'] },
})
await core.worker('deploys', {
  build: ({ repository, commit }, { flow }) => flow.emit('built', { image: `${repository}:${commit}` }),
  release: ({ image }, { state }) => state.set('released', image),
})

const server = createServer(toNodeHandler(core.triggers)).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
const send = sender(`http://127.0.0.1:${port}/webhooks/github`, secret)

const push = { ref: 'refs/heads/main', after: '7b1c2d9', repository: { name: 'shop' } }
console.log('the sender sees')
console.log('  a push:      ', await send(push))
console.log('  once more:   ', await send(push))
console.log('  another ref: ', await send({ ...push, ref: 'refs/heads/draft' }))
console.log('  forged:      ', await send(push, 'a guess'))

console.log('the ledger knows')
for (const { verdict, status, reason } of (await core.triggers.deliveries('repository.pushed')).reverse())
  console.log(`  ${verdict} ${status}${reason ? `: ${reason}` : ''}`)

const [fired] = await core.triggers.runs('repository.pushed', { status: 'processed' })
const runId = fired?.runs[0]?.runId
console.log('the run')
await core.store.subscribe(
  `nq:flow:${runId}`,
  async ({ type, stepName = '', data }) => {
    console.log(
      `  ${type.padEnd(20)} ${stepName.padEnd(8)} ${type === 'state.set' ? JSON.stringify(data) : ''}`.trimEnd(),
    )
    if (type !== 'flow.completed') return
    server.close()
    await core.close()
  },
  { after: '0-0' },
)
