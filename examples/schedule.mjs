// A nightly report over the weekend on which the clocks of Berlin go forward, and what a server leaves out that was away.

import { createTestRuntime } from 'nuxt-queue-core/testing'

const { core, clock, close } = await createTestRuntime()
await clock.set('2025-03-28T12:00:00Z')
core.flows.define({
  name: 'report',
  entry: { step: 'write', queue: 'reports' },
  steps: {},
  triggers: { subscribe: ['nightly'] },
})
await core.worker('reports', {
  write: async ({ scheduledTime }, { state }) => state.set('report', `report of ${scheduledTime}`),
})

const schedule = { cron: '30 2 * * *', timezone: 'Europe/Berlin' }
for (const { local, note = '' } of core.triggers.preview(schedule, { count: 3 })) console.log(local, note)

await core.triggers.register({ name: 'nightly', type: 'schedule', schedule })
await clock.advance('2d')
await core.triggers.disable('nightly')
await clock.advance('1d')
await core.triggers.enable('nightly')
await clock.advance('1d')

for (const { scheduledTime, status, runs, reason = '' } of (await core.triggers.runs('nightly')).reverse()) {
  const [run] = runs
  console.log(scheduledTime, status, run ? await core.store.state(run.runId).get('report') : reason)
}
await close()
