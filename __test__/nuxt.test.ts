/** A Nuxt app with the module: built and started where nothing of Rust is, used over HTTP and in a browser, and edited. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { RunStatus, UntypedRecord } from '../index.js'
import { chromium } from '../scripts/lib/chromium.mjs'
import { root, tool } from '../scripts/lib/paths.mjs'
import { packMain, packPlatform } from '../scripts/pack.mjs'
import { type Browser, launch } from './support/browser.mjs'
import { build, createApp, environment, installPackages, Server } from './support/nuxt.js'
import type { Project } from './support/project.js'
import { startRedis, until } from './support/redis.js'
import { SENDERS } from './support/webhook-senders.js'

const work = mkdtempSync(join(tmpdir(), 'nuxt-queue-nuxt-'))
const output = join(work, 'output')
const linkedOutput = join(work, 'linked-output')
const secret = `whsec_${Buffer.from('a secret of the shop').toString('base64')}`
let browser: Browser
let linked: Project

beforeAll(async () => {
  const binary = readdirSync(root).find((name) => /^nuxt-queue-core\..*\.node$/.test(name)) ?? 'no addon was built'
  const addon = packPlatform(binary.split('.')[1] ?? '', join(root, binary), work)
  installPackages([packMain(work).file, addon.file])
  const app = createApp(join(work, 'app'))
  linked = createApp(join(work, 'linked'), { linked: true })
  await Promise.all([build(app, output), build(linked, linkedOutput)])
  rmSync(app.dir, { recursive: true })
  browser = await launch(chromium()?.path ?? '')
}, 240_000)

afterAll(async () => {
  await browser?.close()
  rmSync(work, { recursive: true, force: true })
})

/** Starts what was built, until the test is over. */
async function start(env: NodeJS.ProcessEnv = {}, from = output): Promise<Server> {
  const server = await Server.start(from, { SHOP_SECRET: secret, ...env })
  onTestFinished(async () => void (await server.stop()))
  return server
}

/** Waits until a run has a status. */
async function reaches(server: Server, runId: string, wanted: RunStatus['status']): Promise<RunStatus> {
  const status = () => server.ask<RunStatus>(`/api/_flows/runs/${runId}`)
  await until(async () => (await status()).status === wanted, `${wanted}: ${server.output}`)
  return await status()
}

const order = (amount: number) => ({ item: 'tea', amount })

describe('an app that was built', () => {
  test('runs flows, tells of them, and ends in good order', async () => {
    const server = await start()
    const { runId } = await server.ask<{ runId: string }>('/api/orders', order(20))
    const status = await reaches(server, runId, 'completed')
    expect(status).toMatchObject({ flowName: 'order', triggeredBy: 'order.placed' })
    expect(await server.ask(`/api/_flows/runs/${runId}/state`)).toEqual({ amount: 20, shipped: true })
    const events = await server.ask<UntypedRecord[]>(`/api/_flows/runs/${runId}/timeline`)
    expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['flow.started', 'log.info', 'state.set']))
    expect(await server.ask('/api/_flows/order/runs')).toMatchObject([{ runId }])
    expect((await server.ask<{ text: string }>(`/api/_flows/runs/${runId}/explain`)).text).toContain('completed')
    const { instances } = await server.ask<{ instances: object[] }>('/api/_registry')
    expect(instances).toMatchObject([{ state: 'healthy', queues: ['orders', 'reports'] }])
    const triggers = await server.ask<Array<{ name: string }>>('/api/_triggers')
    expect(triggers.map(({ name }) => name).sort()).toEqual(['nightly', 'order.placed', 'shop.order'])
    expect(server.output).toContain('reviewing')
    const path = `${server.url}/api/_flows/runs/${runId}/events?after=${events.at(-2)?.id}`
    const live = await fetch(path, { headers: { cookie: 'role=manager' } })
    // What follows a run does not keep its server from ending.
    expect(await server.stop()).toBe(0)
    expect(await live.text()).toMatch(/^id: .*\nevent: message\ndata: {.*"type":"flow.completed".*}\n\n$/)
  })

  test('lets in whom it says, and takes what its schemas take', async () => {
    const server = await start()
    const statusOf = async (path: string, init?: RequestInit) => (await fetch(server.url + path, init)).status
    expect(await statusOf('/api/_registry')).toBe(403)
    expect(await statusOf('/api/_triggers/order.placed/fire', { method: 'POST', body: '{}' })).toBe(403)
    const asManager = { cookie: 'role=manager', 'content-type': 'application/json' }
    expect(await statusOf('/api/_flows/runs/none', { headers: asManager })).toBe(404)
    expect(await statusOf('/api/_flows/nothing/of/this', { headers: asManager })).toBe(404)
    // What a page of somebody else could send without being asked.
    const simple = { method: 'POST', headers: { cookie: 'role=manager' }, body: '{}' }
    expect(await statusOf('/api/_triggers/order.placed/fire', simple)).toBe(400)
    const fire = (body: string) =>
      statusOf('/api/_triggers/order.placed/fire', { method: 'POST', headers: asManager, body })
    expect(await fire(JSON.stringify(order(-1)))).toBe(400)
    expect(await fire('{')).toBe(400)
    expect(await fire(JSON.stringify(order(1)))).toBe(200)
  })

  test('takes webhooks that are signed, and no others', async () => {
    const server = await start()
    const sender = SENDERS.find(({ name }) => name === 'standard-webhooks')
    const body = JSON.stringify(order(5))
    const signed = sender?.sign(secret, body, Math.floor(Date.now() / 1000)).headers as Record<string, string>
    const send = (headers: Record<string, string>) =>
      fetch(`${server.url}/webhooks/shop`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      })
    expect((await send({})).status).toBe(401)
    expect((await send(signed)).status).toBe(200)
    const runs = await server.ask<RunStatus[]>('/api/_flows/order/runs')
    expect(runs).toMatchObject([{ triggeredBy: 'shop.order' }])
  })

  test('tells why it does not start', () => {
    const run = (env: NodeJS.ProcessEnv) =>
      spawnSync(process.execPath, [join(output, 'server/index.mjs')], {
        env: { ...environment, PORT: '0', ...env },
        encoding: 'utf8',
        timeout: 20_000,
      })
    const wrong = run({ NUXT_QUEUE_EVENT_STORE_ADAPTER: 'mysql' })
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining('There is no adapter "mysql"') })
    const modules = join(output, 'server/node_modules')
    const addon = readdirSync(modules).find((name) => name.startsWith('nuxt-queue-core-')) as string
    renameSync(join(modules, addon), join(work, addon))
    const missing = run({})
    renameSync(join(work, addon), join(modules, addon))
    expect(missing.status).not.toBe(0)
    expect(missing.stderr).toContain(addon)
  })
})

/** Places an order that has to be approved, approves it, and looks at the timeline. */
async function approveIn(server: Server): Promise<void> {
  const page = await browser.newPage()
  onTestFinished(() => page.close())
  await page.goto(server.url, { waitUntil: 'networkidle' })
  await page.click('#place')
  await page.waitForSelector('#approve')
  const before = await page.locator('#timeline li').allInnerTexts()
  expect(before.join('\n')).toContain('trigger.awaiting review')
  await page.click('#approve')
  await page.waitForSelector('#done')
  const types = (await page.locator('#timeline b').allInnerTexts()).slice(before.length)
  expect(types[0]).toBe('trigger.fired')
  expect(types.at(-1)).toBe('flow.completed')
  expect(await page.locator('#question').count()).toBe(0)
}

describe('a page', () => {
  test('shows a run as it goes on, and answers what it waits for', async () => {
    await approveIn(await start())
  })

  test('shows on one server what another works on, over Redis', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const shared = {
      NUXT_QUEUE_EVENT_STORE_ADAPTER: 'redis',
      NUXT_QUEUE_EVENT_STORE_REDIS_URL: redis.url,
      NUXT_QUEUE_TRIGGERS_SECRET: 'known to all servers',
    }
    const shown = await start({ ...shared, NUXT_QUEUE_WORKERS: 'false' })
    const works = await start(shared)
    await approveIn(shown)
    expect(works.output).toContain('shipped')
    expect(shown.output).not.toContain('shipped')
    const { instances } = await shown.ask<{ instances: Array<{ queues: string[] }> }>('/api/_registry')
    expect(instances.map(({ queues }) => queues).sort()).toEqual([[], ['orders', 'reports']])
    expect(await works.stop()).toBe(0)
  })
})

describe('a package that is a link', () => {
  test('goes into what is built, too', async () => {
    const server = await start({}, linkedOutput)
    const { runId } = await server.ask<{ runId: string }>('/api/orders', order(20))
    await reaches(server, runId, 'completed')
  })
})

describe('the types of an app', () => {
  const check = (project: string) =>
    linked.run(process.execPath, [tool('tsc'), '--noEmit', '-p', `.nuxt/tsconfig.${project}.json`]).stdout

  test('know its flows, its hooks, and what is imported by name', () => {
    linked.write(
      'server/check.ts',
      `export default async () => {
        await useFlowEngine().start('order', { item: 'tea' })
        await useFlowEngine().start('reports')
        // @ts-expect-error there is no such flow
        await useFlowEngine().start('ordre')
        // @ts-expect-error a queue has one name
        defineQueueConfig({ queue: ['orders'] })
        const [set] = await useEventManager().query({ stream: 'nq:flow:1', types: ['state.set'] })
        return set?.data.key
      }`,
    )
    expect(check('server')).toBe('')
  })

  test('know the config key', () => {
    linked.write(
      'nuxt.config.ts',
      `export default defineNuxtConfig({
        modules: ['nuxt-queue-core/nuxt'],
        queue: {
          eventStore: { adapter: 'redis' },
          // @ts-expect-error true or false
          workers: 'no',
        },
      })`,
    )
    expect(check('node')).toBe('')
  })
})

/** Memory of a process and those that it started, in bytes. */
function residentBytes(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  const own = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  return own + children.reduce((sum, child) => sum + residentBytes(Number(child)), 0)
}

describe('a server for developers', () => {
  test('takes over what is edited, again and again, and keeps nothing', async () => {
    const app = createApp(join(work, 'dev'))
    const server = await Server.develop(app)
    onTestFinished(async () => void (await server.stop()))
    const file = join(app.dir, 'server/queues/orders/ship.ts')
    const text = readFileSync(file, 'utf8')
    /** What the handler returns, once this edit is taken over. */
    const ships = async (edit: string) => {
      await until(
        async () => {
          try {
            const { runId } = await server.ask<{ runId: string }>('/api/orders', order(20))
            await reaches(server, runId, 'completed')
            const { shipped } = await server.ask<{ shipped: unknown }>(`/api/_flows/runs/${runId}/state`)
            return shipped === edit
          } catch {
            return false
          }
        },
        `${edit}: ${server.output.slice(-2000)}`,
      )
    }
    const edit = (value: string) => writeFileSync(file, text.replace("'shipped', true", `'shipped', '${value}'`))
    edit('edited')
    await ships('edited')

    // A handler that is new, and a trigger that is another one.
    writeFileSync(join(app.dir, 'server/queues/greet.ts'), 'export default defineQueueWorker(async () => "hello")\n')
    await until(async () => {
      const asked = server.ask<{ workers: Array<{ queue: string }> }>('/api/_registry')
      return (await asked.catch(() => undefined))?.workers.some(({ queue }) => queue === 'greet') ?? false
    }, 'the new queue')
    const triggers = join(app.dir, 'server/plugins/triggers.ts')
    writeFileSync(triggers, readFileSync(triggers, 'utf8').replace("cron: '0 2 * * *'", "cron: '0 3 * * *'"))
    await until(async () => {
      const found = await server.ask<{ schedule: { cron: string } }>('/api/_triggers/nightly').catch(() => undefined)
      return found?.schedule.cron === '0 3 * * *'
    }, 'the other trigger')

    const used: number[] = []
    for (let n = 1; n <= 50; n++) {
      edit(`edit ${n}`)
      await ships(`edit ${n}`)
      used.push(residentBytes(server.process.pid as number))
    }
    // Garbage is collected every ten reloads or so: what counts is what is left then.
    const leastOf = (from: number, to: number) => Math.min(...used.slice(from, to))
    expect(leastOf(30, 50)).toBeLessThan(1.2 * leastOf(5, 25))
  }, 240_000)
})
