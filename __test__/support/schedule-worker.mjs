// A process that lets schedules fire by a clock of its own, which runs many times as fast as the real one.
//
//   fork('schedule-worker.mjs', [JSON.stringify({ url, queue, schedules, began, start, speed, skew })])
//
// `schedules`: triggers that the flow `tick` subscribes to. At `began` (real time) the clock showed `start`; `skew`: it is so many
// milliseconds ahead.

import { setTimeout as delay } from 'node:timers/promises'
import { open } from '../../index.js'
import { VirtualClock } from '../../testing.js'

const { url, queue, schedules, began, start, speed, skew } = JSON.parse(process.argv[2])
const instant = () => start + (Date.now() - began) * speed + skew
const clock = new VirtualClock(instant())
const core = await open({ clock, eventStore: { adapter: 'redis', redis: { url } } })
core.flows.define({
  name: 'tick',
  entry: { step: 'tick', queue },
  steps: {},
  triggers: { subscribe: schedules.map(({ name }) => name) },
})
for (const schedule of schedules) await core.triggers.register(schedule)
await core.worker(queue, { tick: async () => {} })

process.on('message', async ({ close }) => {
  if (!close) return
  await core.close()
  process.exit()
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
for (;;) {
  await clock.set(instant())
  await delay(5)
}
