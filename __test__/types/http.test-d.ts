// Handlers for HTTP servers.
import { createServer } from 'node:http'
import { expectTypeOf } from 'expect-type'
import express from 'express'
import { open, toH3Handler, toNodeHandler, type WebhookRequest } from 'nuxt-queue-core'

const { triggers } = await open()
const handler = toNodeHandler(triggers, { maxBodyBytes: 1000 })
createServer(handler)
createServer((request, response) => void handler(request, response))
express().use(handler).post('/webhooks', handler)

const answer = { status: 200, headers: {}, body: '' }
const h3 = toH3Handler({
  handleWebhook: async (request) => {
    expectTypeOf(request).toEqualTypeOf<WebhookRequest>()
    return answer
  },
})
expectTypeOf(h3).returns.resolves.toEqualTypeOf<Response>()
// @ts-expect-error an answer has a status
toNodeHandler({ handleWebhook: async () => ({ headers: {}, body: '' }) })
// @ts-expect-error a misspelt option
toH3Handler(triggers, { maxBytes: 1000 })
// @ts-expect-error the triggers, not the core
toNodeHandler({ triggers })
