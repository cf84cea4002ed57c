export const config = defineQueueConfig({
  flow: { name: 'order', subscribes: ['order.approved'] },
  maxAttempts: 3,
})

export default defineQueueWorker(async (input: { item: string }, ctx) => {
  ctx.logger.info('shipped', { item: input.item })
  await ctx.state.set('shipped', true)
  return { shipped: input.item }
})
