import { z } from 'zod'

export default defineNitroPlugin(() => {
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
})
