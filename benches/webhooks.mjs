// Requests to a webhook over HTTP, signed as GitHub does it, each with a body of its own.
//
//   send({ bytes, genuine, duration (seconds) or amount }) → how many a second were answered as they should be     close()

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
  return { ...openWebhookServer(server), close: () => server.end() }
}

/** What sends requests to a server that was started. */
export function openWebhookServer(server) {
  const url = `http://127.0.0.1:${server.first.port}/hook`
  return {
    send: async ({ bytes, genuine, ...extent }) => {
      const padding = 'x'.repeat(bytes)
      const setupRequest = (request) => {
        const body = `{"id":"${randomUUID()}","padding":"${padding}"}`
        const mac = createHmac('sha256', genuine ? SECRET : 'wrong')
          .update(body)
          .digest('hex')
        const headers = { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${mac}` }
        return { ...request, method: 'POST', headers, body }
      }
      const result = await autocannon({ url, connections: CONNECTIONS, ...extent, requests: [{ setupRequest }] })
      const [good, bad] = genuine ? [result['2xx'], result.non2xx] : [result['4xx'], result['2xx'] + result['5xx']]
      if (good === 0 || bad > 0 || result.errors > 0)
        throw new Error(`answered otherwise than they should be: ${JSON.stringify(result.statusCodeStats)}`)
      return good / result.duration
    },
  }
}
