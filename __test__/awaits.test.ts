/** Awaits: what ends them, what is recorded of them, and that a step goes on once, wherever it is executed. */

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { NuxtQueueError, open, type StepHandler, type WorkerContext } from '../index.js'
import { refuses } from './support/failure.js'
import { startRedis, until } from './support/redis.js'
import { Home, type Run } from './support/runs.js'

/** A handler that returns what an await gives, or how it fails. */
const outcome =
  (wait: (ctx: WorkerContext) => Promise<unknown>): StepHandler =>
  async (_, ctx) => {
    try {
      return { value: await wait(ctx) }
    } catch (error) {
      if (error instanceof NuxtQueueError) return { code: error.code, message: error.message }
      throw error
    }
  }

describe('an answer', () => {
  test('by API goes to the step, and the timeline tells it', async () => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('approval', { data: { amount: 7 } })))
    expect(await home.core.triggers.awaits(run.runId)).toMatchObject([
      { awaitId: 'step/approval/1', triggerName: 'approval', stepName: 'step', since: '2025-01-01T00:00:00.000Z' },
    ])
    expect(await run.status()).toMatchObject({ status: 'awaiting', steps: { step: { status: 'paused' } } })
    expect(await run.answer({ approved: true })).toBe(true)
    expect(await run.result()).toEqual({ value: { approved: true } })
    expect(await run.types('flow.step.*', 'trigger.*')).toEqual([
      'flow.step.started',
      'flow.step.paused',
      'trigger.awaiting',
      'trigger.fired',
      'flow.step.resumed',
      'flow.step.completed',
    ])
    expect(await run.events('trigger.awaiting')).toMatchObject([{ kind: 'trigger', data: { amount: 7 } }])
    expect(await home.core.triggers.resolveAwait(run.runId, 'step/approval/1', 2)).toBe(false)
    expect(await home.core.triggers.cancelAwait(run.runId, 'step/approval/1')).toBe(false)
  })

  test.each<[string, (home: Home, run: Run) => Promise<unknown>]>([
    ['a trigger', (home) => home.core.triggers.emit('go', 5)],
    ['an event of its run', (home, run) => home.core.flows.emit(run.runId, 'go', 5)],
  ])('comes from %s of its name', async (_, fire) => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('go')))
    await fire(home, run)
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: 5 })
  })

  test('from a trigger goes to all who wait, once by its key', async () => {
    const home = await Home.open()
    const wait = outcome((ctx) => ctx.flow.await('go'))
    const runs = [await home.run(wait), await home.run(wait)]
    const fire = () => home.core.triggers.emit('go', { n: 1 }, { idempotencyKey: 'k' })
    const [first, second] = [await fire(), await fire()]
    await home.clock.settle()
    expect(first).toEqual({
      ...{ fireId: expect.any(String), triggerName: 'go', status: 'processed', timestamp: '2025-01-01T00:00:00.000Z' },
      ...{ data: { n: 1 }, runs: [], resumed: expect.arrayContaining(runs.map(({ runId }) => runId)) },
    })
    expect(second.fireId).toBe(first.fireId)
    for (const run of runs) expect(await run.result()).toEqual({ value: { n: 1 } })
  })

  test('to an event await comes from a step of the run', async () => {
    const { core, clock } = await Home.open()
    core.flows.define({
      name: 'pair',
      entry: { step: 'asks', queue: 'q' },
      steps: { asks: { queue: 'q' }, answers: { queue: 'q', subscribes: ['asked'] } },
    })
    let got: unknown
    await core.worker('q', {
      asks: async (_, ctx) => {
        await ctx.flow.emit('asked', 6)
        got = await ctx.await.event({ type: 'answered' })
      },
      answers: async (n, ctx) => ctx.flow.emit('answered', { n: n * 7 }),
    })
    await core.flows.start('pair')
    await clock.settle()
    expect(got).toEqual({ n: 42 })
  })

  test('that came before the question is heard, each once', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => {
      await ctx.await.time('1h')
      return [await ctx.flow.await('go'), await ctx.flow.await('go', { timeout: '1s', onTimeout: 'resume' })]
    })
    await home.core.flows.emit(run.runId, 'go', 'early')
    await home.clock.advance('2h')
    expect(await run.result()).toEqual(['early', null])
  })

  test('that came before `since` is not', async () => {
    const home = await Home.open()
    const run = await home.run(
      outcome(async (ctx) => {
        await ctx.await.time('1h')
        return await ctx.flow.await('go', { since: '2025-01-01T00:30:00Z' })
      }),
    )
    await home.core.flows.emit(run.runId, 'go', 'too early')
    await home.clock.advance('40m')
    await home.core.flows.emit(run.runId, 'go', 'in time')
    await home.clock.advance('20m')
    expect(await run.result()).toEqual({ value: 'in time' })
  })
})

describe('time', () => {
  test.each<[string, (ctx: WorkerContext) => Promise<void>, string]>([
    ['time in milliseconds', (ctx) => ctx.await.time(90_000), '90s'],
    ['time as text', (ctx) => ctx.await.time('1h'), '1h'],
    ['months', (ctx) => ctx.await.time('60d'), '60d'],
    ['until a text', (ctx) => ctx.await.until('2025-01-02T00:00:00Z'), '24h'],
    ['until a date', (ctx) => ctx.await.until(new Date('2025-03-01T00:00:00Z')), '59d'],
  ])('passes: %s', async (_, wait, length) => {
    const home = await Home.open()
    const began = home.clock.now()
    let went: number | undefined
    await home.run(async (_, ctx) => {
      await wait(ctx)
      went = home.clock.now()
    })
    await home.clock.advance(length)
    await home.clock.advance(0)
    expect(went).toBe(home.clock.now())
    await home.clock.advance('1d')
    expect(went).toBe(home.clock.now() - 86_400_000)
    expect(went).toBeGreaterThan(began)
  })

  test.each(['2020-01-01', '1914-07-28', new Date(0), new Date('2024-12-31T23:59:59.999Z')])(
    'that has passed does not hold up: %s',
    async (date) => {
      const home = await Home.open()
      const run = await home.run(outcome((ctx) => ctx.await.until(date)))
      expect(await run.result()).toEqual({})
    },
  )

  test('may be as long as one likes', async () => {
    const home = await Home.open()
    const run = await home.run(
      outcome((ctx) =>
        Promise.race([
          ctx.await.time('99999999999999w'),
          ctx.await.until(new Date(8.64e15)),
          ctx.flow.await('go', { timeout: Number.MAX_VALUE }),
        ]),
      ),
    )
    await home.clock.advance('3000d')
    expect((await run.status()).awaits).toHaveLength(3)
    await home.core.triggers.emit('go', 'at last')
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: 'at last' })
  })

  test.each<[string, (ctx: WorkerContext) => Promise<unknown>]>([
    ['duration', (ctx) => ctx.await.time('soon')],
    ['duration', (ctx) => ctx.await.time(-1)],
    ['date', (ctx) => ctx.await.until('2025-01-02T00:00')],
    ['timeout', (ctx) => ctx.flow.await('go', { timeout: Number.NaN })],
    ['onTimeout', (ctx) => ctx.flow.await('go', { onTimeout: 'retry' as never })],
    ['filter', (ctx) => ctx.flow.await('go', { filter: true as never })],
    ['schema', (ctx) => ctx.flow.await('go', { schema: {} })],
    ['since', (ctx) => ctx.flow.await('go', { since: 'yesterday' })],
    ['name', (ctx) => ctx.flow.await('')],
    ['type', (ctx) => ctx.await.event({} as never)],
    ['"timeOut"', (ctx) => ctx.flow.await('go', { timeOut: 1 } as never)],
  ])('and other options are checked: %s', async (name, wait) => {
    const home = await Home.open()
    const run = await home.run(outcome(wait))
    expect(await run.result()).toMatchObject({ code: 'NQ_VALIDATION', message: expect.stringContaining(name) })
    expect(await run.types('trigger.*')).toEqual([])
  })
})

describe('without an answer', () => {
  test('an await throws at its deadline', async () => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('go', { timeout: '24h' })))
    await home.clock.advance('23h')
    expect(await run.status()).toMatchObject({ status: 'awaiting', awaits: [{ deadline: '2025-01-02T00:00:00.000Z' }] })
    await home.clock.advance('1h')
    expect(await run.result()).toMatchObject({ code: 'NQ_TIMEOUT', message: expect.stringContaining('step/go/1') })
    expect(await run.types('trigger.*')).toEqual(['trigger.awaiting', 'trigger.timeout'])
    expect(await home.core.triggers.resolveAwait(run.runId, 'step/go/1')).toBe(false)
  })

  test('it goes on with nothing if it says so', async () => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('go', { timeout: 1000, onTimeout: 'resume' })))
    await home.clock.advance('1s')
    expect(await run.result()).toEqual({})
  })

  test('it throws when it is canceled, with the reason', async () => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('go')))
    expect(await home.core.triggers.cancelAwait(run.runId, 'step/go/1', 'nobody is there')).toBe(true)
    await home.clock.settle()
    expect(await run.result()).toMatchObject({
      code: 'NQ_CANCELED',
      message: expect.stringContaining('nobody is there'),
    })
  })
})

describe('a condition', () => {
  test('passes over what a filter refuses', async () => {
    const home = await Home.open()
    const filter = ({ n }: { n: number }) => n > 1
    const run = await home.run(outcome((ctx) => ctx.flow.await('go', { filter })))
    for (const n of [0, 1, 2, 3]) await home.core.triggers.emit('go', { n })
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: { n: 2 } })
    const skipped = await run.events('trigger.skipped')
    expect(skipped.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['filter', 'filter']))
  })

  test('passes over what a schema refuses, with all that is wrong, and gives what the schema makes of it', async () => {
    const home = await Home.open()
    const schema = z.object({ by: z.string(), n: z.coerce.number() })
    const run = await home.run(outcome((ctx) => ctx.flow.await('go', { schema })))
    await run.answer({ n: 'many' })
    expect(await run.status()).toMatchObject({ status: 'awaiting' })
    const [skipped] = await run.events('trigger.skipped')
    expect(skipped?.reason).toMatch(/by: .*; n: /)
    await run.answer({ by: 'reviewer', n: '7', extra: true })
    expect(await run.result()).toEqual({ value: { by: 'reviewer', n: 7 } })
    expect(await run.events('trigger.fired')).toMatchObject([{ data: { by: 'reviewer', n: 7 } }])
  })

  test('is asked by events of the run, too, and may take its time', async () => {
    const home = await Home.open()
    const filter = async ({ n }: { n: number }) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return n === 2
    }
    const run = await home.run(outcome((ctx) => ctx.await.event({ type: 'go', filter })))
    await home.core.flows.emit(run.runId, 'go', { n: 1 })
    await home.core.flows.emit(run.runId, 'go', { n: 2 })
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: { n: 2 } })
  })

  test('that throws fails the step', async () => {
    const home = await Home.open()
    const filter = (payload: { deep: { n: number } }) => payload.deep.n === 1
    const run = await home.run((_, ctx) => ctx.flow.await('go', { filter }))
    await run.answer({})
    expect(await run.error()).toContain("Cannot read properties of undefined (reading 'n')")
  })

  test('is judged by a step that was suspended, which goes back to sleep if it is not met', async () => {
    const home = await Home.open()
    const run = await home.run(outcome((ctx) => ctx.flow.await('go', { filter: (n) => n === 2 })))
    await home.clock.advance('1m')
    await home.core.triggers.emit('go', 1)
    await home.clock.advance('1m')
    expect(await run.types('flow.step.suspended', 'trigger.skipped')).toEqual([
      'flow.step.suspended',
      'trigger.skipped',
      'flow.step.suspended',
    ])
    await home.core.triggers.emit('go', 2)
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: 2 })
  })
})

describe('a step that waits long', () => {
  test('is suspended, and executed again when the answer comes', async () => {
    const home = await Home.open()
    let executions = 0
    const run = await home.run(
      async (input, ctx) => {
        executions++
        const first = await ctx.flow.await('first')
        const second = await ctx.flow.await('second')
        return [input, first, second, ctx.attempt]
      },
      { input: 'in' },
    )
    await home.clock.advance('29s')
    expect(await run.types('flow.step.suspended')).toEqual([])
    await home.clock.advance('1s')
    expect(await run.types('flow.step.suspended')).toHaveLength(1)
    await run.answer(1)
    expect(executions).toBe(2)
    await home.clock.advance('7d')
    await run.answer(2)
    expect(await run.result()).toEqual(['in', 1, 2, 1])
    expect(executions).toBe(3)
    expect(await run.types('flow.step.started', 'trigger.awaiting', 'flow.step.resumed')).toEqual([
      'flow.step.started',
      'trigger.awaiting',
      'flow.step.resumed',
      'trigger.awaiting',
      'flow.step.resumed',
    ])
  })

  test.each(['0s', '5m'])('is suspended after %s if the config says so', async (suspendAfter) => {
    const home = await Home.open({ flows: { suspendAfter } })
    const run = await home.run((_, ctx) => ctx.flow.await('go'))
    if (suspendAfter !== '0s') {
      await home.clock.advance(299_999)
      expect(await run.types('flow.step.suspended')).toEqual([])
      await home.clock.advance(1)
    }
    expect(await run.types('flow.step.suspended')).toHaveLength(1)
    await run.answer('yes')
    expect(await run.result()).toBe('yes')
  })

  test('is not while it does something', async () => {
    const home = await Home.open()
    const run = await home.run(
      async (_, ctx) => {
        const beats = setBeats(home, ctx)
        const answer = await ctx.flow.await('go')
        await beats
        return answer
      },
      { worker: { suspendAfter: '10s' } },
    )
    for (let n = 0; n < 6; n++) await home.clock.advance('9s')
    expect(await run.types('flow.step.suspended')).toEqual([])
    await home.clock.advance('10s')
    expect(await run.types('flow.step.suspended')).toHaveLength(1)
  })

  test('is given up: its await never settles, its calls are refused, its signal is aborted', async () => {
    const home = await Home.open()
    const seen: unknown[] = []
    const contexts: WorkerContext[] = []
    const run = await home.run(async (_, ctx) => {
      contexts.push(ctx)
      try {
        return await ctx.flow.await('go')
      } finally {
        seen.push('finally')
      }
    })
    await home.clock.advance('1m')
    const [ctx] = contexts as [WorkerContext]
    expect(ctx.signal.reason).toMatchObject({ code: 'NQ_SUSPENDED' })
    await refuses(() => ctx.state.set('a', 1), 'NQ_SUSPENDED', run.runId)
    await refuses(() => ctx.flow.emit('a'), 'NQ_SUSPENDED')
    void ctx.state.set('b', 1)
    ctx.logger.info('lost')
    let settled = false
    void ctx.await.time(1).finally(() => {
      settled = true
    })
    await run.answer('yes')
    expect(await run.result()).toBe('yes')
    expect([seen, settled]).toEqual([['finally'], false])
    expect(await run.types('log.*', 'state.*')).toEqual([])
  })

  test('writes log lines and state once', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => {
      ctx.logger.info('one')
      await ctx.state.set('a', { n: [1] })
      await ctx.state.setBatch({ b: 1, c: null })
      await ctx.state.set('gone', 1)
      await ctx.state.delete('gone')
      await ctx.flow.await('go')
      ctx.logger.info('two')
      await ctx.state.set('d', 1)
      await ctx.flow.await('go')
      ctx.logger.info('three')
      await ctx.state.set('d', 2)
      return await ctx.state.getAll()
    })
    await home.clock.advance('1m')
    await run.answer()
    await home.clock.advance('1m')
    await run.answer()
    expect(await run.result()).toEqual({ a: { n: [1] }, b: 1, c: null, d: 2 })
    expect((await home.core.logs.query({ runId: run.runId })).map(({ message }) => message)).toEqual([
      'one',
      'two',
      'three',
    ])
    // What was set and removed again is set and removed again each time: its end is not its beginning.
    const keys = (await run.events('state.set')).map(({ key }) => key)
    expect(keys.filter((key) => key !== 'gone')).toEqual(['a', 'd', 'd'])
    expect(await run.types('state.batch')).toHaveLength(1)
  })

  test('emits each event once', async () => {
    const home = await Home.open()
    const run = await home.run(async (_, ctx) => {
      await ctx.flow.emit('x', 1)
      await ctx.flow.emit('x', 2)
      await ctx.flow.await('go')
      await ctx.flow.emit('x', 3)
    })
    await home.clock.advance('1m')
    await run.answer()
    expect(await run.status()).toMatchObject({ status: 'completed' })
    expect(await run.types('emit')).toHaveLength(3)
  })
})

describe('awaits side by side', () => {
  test('are answered in any order, over a suspension', async () => {
    const home = await Home.open()
    const run = await home.run((_, ctx) => Promise.all(['a', 'b', 'c'].map((name) => ctx.flow.await(name))))
    await home.core.triggers.emit('c', 3)
    await home.clock.advance('1h')
    await home.core.triggers.emit('a', 1)
    await home.clock.advance('1h')
    await home.core.triggers.emit('b', 2)
    await home.clock.settle()
    expect(await run.result()).toEqual([1, 2, 3])
    expect(await run.types('flow.step.resumed')).toHaveLength(3)
  })

  test('race, and the loser is over with the step', async () => {
    const home = await Home.open()
    const run = await home.run((_, ctx) =>
      Promise.race([ctx.flow.await('go'), ctx.await.time('1h').then(() => 'late')]),
    )
    await home.clock.advance('1h')
    expect(await run.result()).toBe('late')
    expect((await run.status()).awaits).toEqual([])
    expect(await run.events('trigger.canceled')).toMatchObject([{ awaitId: 'step/go/1' }])
  })
})

describe('a handler that does not do the same again', () => {
  test.each<[string, (ctx: WorkerContext) => Promise<unknown>]>([
    ['another name', (ctx) => ctx.flow.await('other')],
    ['another kind', (ctx) => ctx.await.event({ type: 'go' })],
  ])('fails for good: %s', async (_, second) => {
    const home = await Home.open()
    let executions = 0
    const run = await home.run(
      async (_, ctx) => {
        executions++
        const wait = executions === 1 ? ctx.flow.await('go') : second(ctx)
        return await wait.catch(() => 'hidden')
      },
      { step: { maxAttempts: 5 } },
    )
    await home.clock.advance('1m')
    await run.answer()
    expect(await run.error()).toMatch(/"?step\/go\/1|"go"/)
    expect(executions).toBe(2)
  })
})

test('a context is of no use after its step', async () => {
  const home = await Home.open()
  const contexts: WorkerContext[] = []
  const run = await home.run((_, ctx) => void contexts.push(ctx))
  const [ctx] = contexts as [WorkerContext]
  void ctx.flow.emit('nobody listens')
  void ctx.await.time(1)
  await refuses(() => ctx.flow.await('go'), 'NQ_CONFLICT', 'has ended')
  await refuses(() => ctx.flow.emit('go'), 'NQ_CONFLICT', 'has ended')
  expect(await run.types('trigger.*', 'emit')).toEqual([])
})

describe('a webhook', () => {
  const secret = 'a long random text'
  const post = (
    path: string,
    body: string,
    headers: Record<string, string> = { 'Content-Type': 'application/json' },
  ) => ({
    ...{ method: 'POST', path, headers, body: new TextEncoder().encode(body) },
  })
  /** A run that waits for one, and its URL. */
  async function waiting(config = {}, options = {}) {
    const home = await Home.open({ triggers: { secret, ...config } })
    const urls: string[] = []
    const run = await home.run(
      outcome(async (ctx) => {
        urls.push(ctx.await.getWebhookUrl())
        return await ctx.await.webhook(options)
      }),
    )
    const [url] = urls as [string]
    return {
      home,
      run,
      url,
      urls,
      send: (request: object) => home.core.triggers.handleWebhook({ ...post(url, '{}'), ...request }),
    }
  }

  test('answers the await, once', async () => {
    const { home, run, url } = await waiting()
    expect(url).toMatch(/^\/api\/_triggers\/await\/[\w-]+\.[\w-]{43}$/)
    expect(await home.core.triggers.handleWebhook(post(url, '{"ok":true}'))).toEqual({
      ...{ status: 200, headers: { 'content-type': 'application/json' }, body: '{"status":"accepted"}' },
    })
    expect(await home.core.triggers.handleWebhook(post(url, '{"ok":false}'))).toMatchObject({
      ...{ status: 409, body: '{"error":"already used"}' },
    })
    await home.clock.settle()
    expect(await run.result()).toEqual({ value: { ok: true } })
    expect(await home.core.triggers.handleWebhook(post(url, '{}'))).toMatchObject({ status: 409 })
  })

  test('has the same URL in each execution, and begins as the config says', async () => {
    const { home, url, urls, run } = await waiting({ baseUrl: 'https://app.example.com/base/' })
    expect(url).toMatch(/^https:\/\/app\.example\.com\/base\/api\/_triggers\/await\//)
    await home.clock.advance('1m')
    const path = `${new URL(url).pathname}?source=test`
    expect(await home.core.triggers.handleWebhook(post(path, '[1]'))).toMatchObject({ status: 200 })
    await home.clock.settle()
    expect(urls).toEqual([url, url])
    expect(await run.result()).toEqual({ value: [1] })
  })

  test('judges what comes by its schema', async () => {
    const { home, run, url } = await waiting({}, { schema: z.object({ n: z.number() }), path: '/approve' })
    for (const body of ['{"n":"1"}', '{"n":1}']) {
      expect(await home.core.triggers.handleWebhook(post(url, body))).toMatchObject({ status: 200 })
      await home.clock.settle()
    }
    expect(await run.result()).toEqual({ value: { n: 1 } })
    expect(await run.events('trigger.awaiting')).toMatchObject([{ kind: 'webhook', data: { path: '/approve' } }])
  })

  test('refuses what is not for it', async () => {
    const { url, send, run } = await waiting()
    const [place = '', signature = ''] = url.split('/').at(-1)?.split('.') ?? []
    const forged = Buffer.from(JSON.stringify([run.runId, 'step/webhook/2'])).toString('base64url')
    const token = (text: string) => ({ path: `/api/_triggers/await/${text}` })
    const statuses = async (...requests: object[]) =>
      (await Promise.all(requests.map(send))).map(({ status }) => status)
    expect(await statuses({ path: '/api/_triggers/other' }, token(''), token('a.b'), token(place))).toEqual(
      Array(4).fill(404),
    )
    expect(await statuses(token(`${forged}.${signature}`), token(`${place}.${signature}.x`))).toEqual([404, 404])
    expect(await send({ method: 'GET' })).toMatchObject({ status: 405, headers: { allow: 'POST' } })
    expect(await statuses({ headers: {} }, { headers: { 'content-type': 'text/plain' } })).toEqual([415, 415])
    const bodies = ['', '{', '\xff'].map((text) => ({ body: Buffer.from(text, 'latin1') }))
    expect(await statuses(...bodies, { body: Buffer.alloc(2 ** 20 + 1) })).toEqual([400, 400, 400, 413])
    expect(await statuses({ headers: { 'CONTENT-TYPE': ['application/vnd.api+json; charset=utf-8'] } })).toEqual([200])
  })

  test('refuses what is no request', async () => {
    const { send } = await waiting()
    for (const [name, request] of Object.entries({
      body: { body: 'text' },
      path: { path: 1 },
      headers: { headers: null },
    }))
      await refuses(() => send(request), 'NQ_VALIDATION', name)
  })

  test('says when nobody waits any more, or not yet', async () => {
    const { home, url, run } = await waiting()
    await home.core.flows.cancel(run.runId)
    expect(await home.core.triggers.handleWebhook(post(url, '{}'))).toMatchObject({ status: 410 })
    await home.core.store.deleteStream(run.stream)
    expect(await home.core.triggers.handleWebhook(post(url, '{}'))).toMatchObject({ status: 410 })

    let early: { status: number } | undefined
    await home.run(async (_, ctx) => {
      early = await home.core.triggers.handleWebhook(post(ctx.await.getWebhookUrl(), '{}'))
    })
    expect(early).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    const canceled = await home.run(outcome(async (ctx) => [await ctx.await.webhook(), await ctx.flow.await('more')]))
    await home.core.triggers.cancelAwait(canceled.runId, 'step/webhook/1')
  })

  test('that timed out is no longer waited for', async () => {
    const home = await Home.open()
    let url = ''
    await home.run(async (_, ctx) => {
      url = ctx.await.getWebhookUrl()
      await ctx.await.webhook({ timeout: '1s', onTimeout: 'resume' })
      await ctx.flow.await('more')
    })
    await home.clock.advance('1s')
    const answer = await home.core.triggers.handleWebhook(post(url, '{}'))
    expect(answer).toMatchObject({ status: 409, body: '{"error":"no longer waited for"}' })
  })

  test('has a secret that stands nowhere, and another in each process without one', async () => {
    const { home, run, url } = await waiting()
    expect(JSON.stringify(await run.records())).not.toContain(secret)
    const other = await Home.open()
    expect(await other.core.triggers.handleWebhook(post(url, '{}'))).toMatchObject({ status: 404 })
    await home.core.close()
  })
})

describe('on Redis', () => {
  test('a step of one process goes on with what another answers', async () => {
    const server = await startRedis()
    const config = { eventStore: { adapter: 'redis' as const, redis: { url: server.url } } }
    const [one, two] = [await open(config), await open(config)]
    try {
      const handlers: Record<string, StepHandler> = {
        step: async (_, ctx) => [await ctx.flow.await('go'), await ctx.await.time(50).then(() => 'later')],
      }
      one.flows.define({ name: 'f', entry: { step: 'step', queue: 'q' }, steps: {} })
      await one.worker('q', handlers, { suspendAfter: '10m' })
      const { runId } = await one.flows.start('f')
      await until(async () => (await two.flows.status(runId))?.awaits.length === 1, 'the await')
      await two.triggers.resolveAwait(runId, 'step/go/1', 7)
      await until(async () => (await two.flows.status(runId))?.status === 'completed', 'the end')
      const [ended] = await two.store.query({ stream: `nq:flow:${runId}`, types: ['flow.completed'] })
      expect(ended?.data.result).toEqual([7, 'later'])
    } finally {
      await Promise.all([one.close(), two.close()])
      await server.stop()
    }
  })

  test('URLs need a secret that all know', async () => {
    const server = await startRedis()
    const core = await open({ eventStore: { adapter: 'redis', redis: { url: server.url } } })
    try {
      core.flows.define({ name: 'f', entry: { step: 'step', queue: 'q' }, steps: {} })
      let thrown: unknown
      await core.worker('q', {
        step: (_, ctx) => {
          try {
            ctx.await.getWebhookUrl()
          } catch (error) {
            thrown = error
          }
        },
      })
      await core.flows.start('f')
      await until(() => thrown !== undefined, 'the error')
      expect(thrown).toMatchObject({ code: 'NQ_CONFIG', message: expect.stringContaining('NUXT_QUEUE_SECRET') })
    } finally {
      await core.close()
      await server.stop()
    }
  })
})

/** Signs of life every nine seconds of a clock that the test moves, six times. */
async function setBeats(home: Home, ctx: WorkerContext): Promise<void> {
  for (let n = 0; n < 5; n++) {
    const from = home.clock.now()
    while (home.clock.now() < from + 9000) await new Promise((resolve) => setImmediate(resolve))
    await ctx.state.set('beat', n)
  }
}
