import { z } from 'zod'

const order = z.object({ item: z.string().min(1), amount: z.number().positive() })

export const config = defineQueueConfig({
  flow: { name: 'order', role: 'entry', emits: ['order.approved', 'order.rejected'] },
  triggers: ['order.placed', 'shop.order'],
  schema: order,
})

/** Small orders are approved at once; for others a manager is asked. */
export default defineQueueWorker(async (input: z.infer<typeof order>, ctx) => {
  ctx.logger.info('reviewing', { item: input.item })
  await ctx.state.set('amount', input.amount)
  if (input.amount > 1000) {
    const { approved } = await ctx.flow.await<{ approved: boolean }>('manager.approval', {
      timeout: '24h',
      data: { amount: input.amount },
    })
    if (!approved) return await ctx.flow.emit('order.rejected', input)
  }
  await ctx.flow.emit('order.approved', input)
})
