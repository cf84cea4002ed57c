export default defineNuxtConfig({
  compatibilityDate: '2025-11-01',
  modules: ['nuxt-queue-core/nuxt'],
  devtools: { enabled: false },
  telemetry: false,
  queue: {
    // In memory, with nothing to install. A server takes NUXT_QUEUE_EVENT_STORE_ADAPTER=redis and …_REDIS_URL.
    logging: { routing: 'both' },
    flows: { suspendAfter: '5s' },
  },
})
