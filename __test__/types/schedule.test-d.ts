// Schedules: what they are made of, a preview, what a firing says.
import { expectTypeOf } from 'expect-type'
import { open, type ScheduledInstant, type ScheduleOptions, type TriggerDefinition } from 'nuxt-queue-core'

const core = await open()

await core.triggers.register({
  name: 'nightly',
  type: 'schedule',
  schedule: { cron: '30 2 * * *', timezone: 'Europe/Berlin', gap: 'skip', dstOverlap: 'both', overlap: 'queue' },
  data: { any: 'JSON' },
})
await core.triggers.update('nightly', { schedule: { every: { days: 2 }, at: '09:00' }, data: null })
expectTypeOf<TriggerDefinition['schedule']>().toEqualTypeOf<ScheduleOptions | undefined>()
expectTypeOf<ScheduleOptions['catchUp']>().toEqualTypeOf<'none' | 'last' | 'all' | undefined>()
// @ts-expect-error: no such policy
expectTypeOf<ScheduleOptions>({ cron: '* * * * *', overlap: 'wait' })
// @ts-expect-error: no such option
core.triggers.preview({ cron: '* * * * *', zone: 'UTC' })

expectTypeOf(core.triggers.preview({ interval: '90m' })).toEqualTypeOf<ScheduledInstant[]>()
core.triggers.preview({ interval: '90m' }, { from: new Date(), count: 3 })
const [firing] = await core.triggers.runs('nightly', { status: 'skipped' })
expectTypeOf(firing?.scheduledTime).toEqualTypeOf<string | undefined>()
expectTypeOf(firing?.delayMs).toEqualTypeOf<number | undefined>()

const events = await core.store.query({ stream: 'nq:trigger:nightly', types: ['trigger.queued'] })
for (const { data } of events) expectTypeOf(data.scheduledTime).toEqualTypeOf<string>()
