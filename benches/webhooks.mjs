// Requests to a webhook over HTTP, signed as GitHub does it, each with a body of its own.
//
//   send({ count, bytes, genuine }) → resolves when all are answered, as they should be     close()

import { createHmac, randomUUID } from 'node:crypto'
import autocannon from 'autocannon'
import { startChild } from './child.mjs'
import { CORE } from './subjects.mjs'

const SECRET = 'only-for-this-benchmark'
const CONNECTIONS = 16

export function providersLibrary() {
  return { name: '@octokit/webhooks-methods alone', open: () => openServer('plain', {}) }
}

export function coreWebhooks(name, options) {
  return { name: `${CORE}, ${name}`, core: true, open: () => openServer('core', options) }
}

async function openServer(kind, options) {
  const server = await startChild('webhook-server.mjs', [kind, JSON.stringify(options)])
  const url = `http://127.0.0.1:${server.first.port}/hook`
  return {
    send: async ({ count, bytes, genuine }) => {
      const padding = 'x'.repeat(bytes)
      const setupRequest = (request) => {
        const body = `{"id":"${randomUUID()}","padding":"${padding}"}`
        const mac = createHmac('sha256', genuine ? SECRET : 'wrong')
          .update(body)
          .digest('hex')
        const headers = { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${mac}` }
        return { ...request, method: 'POST', headers, body }
      }
      const result = await autocannon({ url, connections: CONNECTIONS, amount: count, requests: [{ setupRequest }] })
      const good = genuine ? result['2xx'] : result['4xx']
      if (good !== count)
        throw new Error(
          `${good} of ${count} were answered as they should be: ${JSON.stringify(result.statusCodeStats)}`,
        )
    },
    close: () => server.end(),
  }
}
