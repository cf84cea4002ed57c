import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    // Processes, not threads: some tests end their process or start threads of their own, and each gets a fresh addon.
    pool: 'forks',
    maxWorkers: 2,
    // Connections are cut on purpose all the time. Programs that tests run in processes of their own say it.
    env: { NQ_LOG: 'off' },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
  },
})
