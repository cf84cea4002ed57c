export const config = defineQueueConfig({ triggers: ['nightly'] })

/** A file that says nothing of a flow is one of its own: `reports`, with one step. */
export default defineQueueWorker(async (_, ctx) => {
  ctx.logger.info('reported')
})
