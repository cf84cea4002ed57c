/** What the Nuxt module makes of an app, and of what an app says wrong: without Nuxt. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import nuxtQueue, { type QueueModuleOptions } from '../nuxt.js'
import { configReference, referenceFile } from '../scripts/lib/config-reference.mjs'
import { runCode } from './support/child.js'
import { refuses } from './support/failure.js'
import { startServer } from './support/nuxt-server.js'

const work = mkdtempSync(join(tmpdir(), 'nuxt-queue-module-'))
afterAll(() => rmSync(work, { recursive: true }))

type Hook = (...args: never[]) => unknown

/** What Nuxt hands to a module, for an app with these files; `layers/NAME/…` are those of layers that it extends. */
function createNuxt(files: string[], queue?: object) {
  const rootDir = mkdtempSync(join(work, 'app-'))
  for (const file of files) {
    mkdirSync(dirname(join(rootDir, file)), { recursive: true })
    writeFileSync(join(rootDir, file), '')
  }
  const layers = [...new Set(files.flatMap((file) => /^layers\/[^/]+/.exec(file) ?? []))]
  const folders = [rootDir, ...layers.map((layer) => join(rootDir, layer))]
  const hooks = new Map<string, Hook>()
  const options = {
    ...{ rootDir, buildDir: join(rootDir, '.nuxt'), dev: false, queue, runtimeConfig: {} as Record<string, unknown> },
    _layers: folders.map((cwd) => ({ cwd, config: { rootDir: cwd } })),
  }
  const hook = (name: string, handler: Hook) => void hooks.set(name, handler)
  return { options, hook, hooks }
}

/** What Nitro is told. */
async function nitroOf(nuxt: ReturnType<typeof createNuxt>, inline: QueueModuleOptions = {}) {
  await nuxtQueue(inline, nuxt)
  const nitro: { virtual: Record<string, string | (() => string)>; handlers: Array<{ route: string }> } = {
    ...{ virtual: {}, handlers: [] },
  }
  await nuxt.hooks.get('nitro:config')?.(nitro as never)
  const plugin = nitro.virtual['#nuxt-queue/plugin'] as () => string
  const code = plugin()
  return { names: [...code.matchAll(/name: "([^"]+)"/g)].map(([, name]) => name), code, ...nitro }
}

describe('the handlers of an app', () => {
  test('are the modules below server/queues, of the layers, too, and the app’s own go before', async () => {
    const own = ['orders/review.ts', 'orders/ship.mjs', 'reports.js'].map((file) => `server/queues/${file}`)
    const other = ['_shared.ts', 'orders/review.test.ts', 'types.d.ts', 'notes.md'].map(
      (file) => `server/queues/${file}`,
    )
    const layer = ['orders/review.ts', 'mails.ts'].map((file) => `layers/base/server/queues/${file}`)
    const { names, code } = await nitroOf(createNuxt([...own, ...other, ...layer]))
    expect(names).toEqual(['mails', 'orders/review', 'orders/ship', 'reports'])
    expect(code).toContain('layers/base/server/queues/mails.ts')
    expect(code).not.toContain('layers/base/server/queues/orders/review.ts')
  })

  test('need not be there', async () => {
    expect((await nitroOf(createNuxt([]))).names).toEqual([])
  })
})

describe('the routes', () => {
  const routesOf = async (options: QueueModuleOptions) => {
    const { handlers } = await nitroOf(createNuxt([]), options)
    return handlers.map(({ route }) => route)
  }

  test('are for looking and acting, and for webhooks', async () => {
    expect(await routesOf({})).toEqual(
      expect.arrayContaining(['/api/_flows/**', '/api/_registry', '/api/_triggers/**', '/webhooks/**']),
    )
  })

  test('are those of webhooks and awaits only, if an app says so', async () => {
    expect(await routesOf({ routes: false, webhooks: '/hooks' })).toEqual(['/api/_triggers/await/**', '/hooks/**'])
  })
})

test('the module says what it needs without loading the addon', async () => {
  const code = `const { default: nuxtQueue } = await import('./nuxt.js'); console.log((await nuxtQueue.getMeta()).configKey)`
  const ended = await runCode(code, { env: { NAPI_RS_NATIVE_LIBRARY_PATH: '/not/there' } })
  expect(ended).toMatchObject({ code: 0, stdout: 'queue\n' })
})

describe('a config that can’t be', () => {
  const wrong: Array<[string, object, RegExp]> = [
    [
      'an option that is not known',
      { evntStore: {} },
      /"queue\.evntStore"; known are eventStore, .*, queues, .*workers/,
    ],
    [
      'an adapter',
      { eventStore: { adapter: 'mysql' } },
      /queue\.eventStore: There is no adapter "mysql"; use 'memory'/,
    ],
    ['a member', { eventStore: { redis: { ulr: '' } } }, /queue\.eventStore: .*"redis\.ulr"; known are url/],
    ['a value', { logging: { routing: 'nowhere' } }, /queue\.logging\.routing is "nowhere"; expected one of internal/],
    ['a mode', { registry: { mode: 'polling' } }, /queue\.registry\.mode is "polling"; expected "event-based"/],
    [
      'a queue',
      { queues: { gpu: { concurrency: 0 } } },
      /queue\.queues\.gpu\.concurrency is 0; expected a whole number/,
    ],
    ['a path', { webhooks: 'hooks' }, /queue\.webhooks is "hooks"; expected a path/],
    ['a flag', { workers: 'yes' }, /queue\.workers is "yes"; expected true or false/],
    ['code', { triggers: { resolveSecret: () => 's' } }, /queue\.triggers\.resolveSecret is a function.*queue:config/],
    ['no object', [] as object, /queue is .*; expected an object/],
  ]
  test.each(wrong)('is refused when an app is built: %s', async (_what, config, message) => {
    await refuses(async () => await nuxtQueue({}, createNuxt([], config)), 'NQ_CONFIG', message)
  })

  test('is taken from the environment as texts, and refused by the same names', async () => {
    const nuxt = createNuxt([], { eventStore: { adapter: 'memory' } })
    await nuxtQueue({}, nuxt)
    const queue = nuxt.options.runtimeConfig.queue as { registry: Record<string, unknown>; logging: { level: unknown } }
    queue.registry.instanceId = 7
    const core = await startServer({}, { config: queue })
    expect(core.registry.instanceId).toBe('7')
    await core.close()
    queue.logging.level = 'loud'
    await refuses(
      () => startServer({}, { config: queue }),
      'NQ_CONFIG',
      /queue\.logging\.level is "loud"; expected one of debug/,
    )
  })
})

test('the reference of the config is that of the types; node scripts/config-reference.mjs writes it', async () => {
  expect(readFileSync(referenceFile, 'utf8')).toBe(await configReference())
})
