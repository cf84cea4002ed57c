// A server of one webhook, in a process of its own: either this package, or the provider's own library and nothing else.
//
//   fork('webhook-server.mjs', ['plain' | 'core', '{ "persistData": …, "port": Redis or 0 }'])
//
// Its first message is `{ port }`; `'memory'` is answered by `{ rss }` in bytes, after a collection of garbage.

import { createServer } from 'node:http'
import { verify } from '@octokit/webhooks-methods'

const [kind, options] = process.argv.slice(2)
const { persistData = true, port: redis = 0 } = JSON.parse(options)
const SECRET = 'only-for-this-benchmark'

const server = createServer(kind === 'plain' ? plain : await core())
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('message', () => {
  globalThis.gc?.()
  process.send({ rss: process.memoryUsage.rss() })
})
process.on('disconnect', () => process.exit())

async function core() {
  const { open, toNodeHandler } = await import('../index.js')
  const eventStore = redis === 0 ? {} : { adapter: 'redis', redis: { host: '127.0.0.1', port: redis } }
  const opened = await open({ eventStore: { ...eventStore, limits: { maxEventBytes: 4 << 20 } } })
  const auth = { type: 'signature', provider: 'github', secret: SECRET }
  await opened.registerTrigger({
    ...{ name: 'bench', type: 'webhook', config: { persistData } },
    endpoint: { path: '/hook', auth, maxBodyBytes: 2 << 20 },
  })
  return toNodeHandler(opened.triggers, { maxBodyBytes: 2 << 20 })
}

async function plain(request, response) {
  const parts = []
  for await (const part of request) parts.push(part)
  const signature = request.headers['x-hub-signature-256']
  const isGenuine = await verify(SECRET, Buffer.concat(parts).toString(), signature).catch(() => false)
  response.writeHead(isGenuine ? 200 : 401, { 'content-type': 'application/json' })
  response.end(isGenuine ? '{"status":"accepted"}' : '{"error":"unauthorized"}')
}
