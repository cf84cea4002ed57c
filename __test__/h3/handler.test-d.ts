// A handler for h3, as both versions take one.
import { createApp, createRouter, defineEventHandler } from 'h3'
import { defineHandler, H3 } from 'h3-v2'
import { toH3Handler } from 'nuxt-queue-core'

const handler = toH3Handler({ handleWebhook: async () => ({ status: 200, headers: {}, body: '' }) })
createApp().use(handler).use('/webhooks', defineEventHandler(handler)).use(createRouter().post('/webhooks/**', handler))
new H3().post('/webhooks/**', handler).use('/webhooks', defineHandler(handler))
