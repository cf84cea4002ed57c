/** A process that ends between what it records and the jobs that follow from it: another hands them over. */

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, type QueueCore } from '../index.js'
import { runCode } from './support/child.js'
import { newQueue } from './support/dispatchers.js'
import { Inbox } from './support/inbox.js'
import { type RedisServer, startRedis } from './support/redis.js'

/** A module that is never loaded: who needs it waits for ever. */
const STUCK = `
  import { register } from 'node:module'
  const hooks = 'export const resolve = (name, context, next) =>' +
    ' name === "bullmq" ? new Promise(() => {}) : next(name, context)'
  register('data:text/javascript,' + encodeURIComponent(hooks))
`

let server: RedisServer
let core: QueueCore

beforeAll(async () => {
  server = await startRedis()
  core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } } })
})
afterAll(async () => {
  await core.close()
  await server.stop()
})

test('a run whose starter is killed before its first job is in the queue', async () => {
  const [queue, runId] = [newQueue(), randomUUID()]
  const inbox = await Inbox.of(core.store, `nq:flow:${runId}`, { after: '0-0' })
  await core.worker(queue, { greet: async ({ name }) => `hello ${name}` })
  const ended = await runCode(
    `${STUCK}
    const { open } = await import('./index.js')
    const core = await open({ eventStore: { adapter: 'redis', redis: { url: '${server.url}' } } })
    core.flows.define({ name: 'greeting', entry: { step: 'greet', queue: '${queue}' }, steps: { greet: { queue: '${queue}' } } })
    setInterval(() => {}, 1000)
    await core.flows.start('greeting', { name: 'mae' }, { runId: '${runId}' })`,
    { onStart: (child) => void inbox.first('flow.started').then(() => child.kill('SIGKILL')) },
  )
  expect(ended).toMatchObject({ signal: 'SIGKILL', stderr: '' })
  // It is left to its starter for a while.
  await inbox.first('flow.completed', 40_000)
  expect(inbox.events.map(({ type }) => type)).toEqual([
    'flow.started',
    'flow.step.started',
    'flow.step.completed',
    'flow.completed',
  ])
}, 60_000)
