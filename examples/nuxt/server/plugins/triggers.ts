import { z } from 'zod'

export default defineNitroPlugin((nitroApp) => {
  registerTrigger({
    name: 'order.placed',
    type: 'event',
    schema: z.object({ item: z.string().min(1), amount: z.number().positive() }),
  })
  registerTrigger({
    name: 'shop.order',
    type: 'webhook',
    endpoint: {
      path: '/webhooks/shop',
      auth: { type: 'signature', provider: 'standard-webhooks', secretRef: 'SHOP_SECRET' },
    },
  })
  registerTrigger({ name: 'nightly', type: 'schedule', schedule: { cron: '0 2 * * *', timezone: 'Europe/Berlin' } })

  // Who may look at runs and act on them: here whoever knows a password of the demo.
  nitroApp.hooks.hook('queue:authorize', (event, access) => {
    const { headers } = (event as { node: { req: { headers: Record<string, string | undefined> } } }).node.req
    if (headers.cookie?.includes('role=manager')) access.allowed = true
  })
})
