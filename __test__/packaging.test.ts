/** The packages as users get them: packed, installed into an empty project, imported, required, typed and traced. */

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeFileTrace } from '@vercel/nft'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { platforms } from '../scripts/lib/addon.mjs'
import { root, tool } from '../scripts/lib/paths.mjs'
import { packedPlatforms, packMain, packPlatform } from '../scripts/pack.mjs'
import { Project } from './support/project.js'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const binary = readdirSync(root).find((name) => /^nuxt-queue-core\..*\.node$/.test(name)) ?? 'no addon was built'
const platform = binary.split('.')[1] ?? ''

const work = mkdtempSync(join(tmpdir(), 'nuxt-queue-packaging-'))
const main = packMain(work)
const addon = packPlatform(platform, join(root, binary), work)
let app: Project

beforeAll(() => {
  app = Project.create(join(work, 'app'), [main.file, addon.file])
})

afterAll(() => rmSync(work, { recursive: true, force: true }))

describe('the main package', () => {
  test('contains everything that its manifest names', () => {
    const named = Object.values<string | Record<string, string>>(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry),
    )
    const paths = [...named, ...Object.values<string>(manifest.bin), manifest.main, manifest.types].map((path) =>
      path.replace('./', ''),
    )
    expect(main.contents).toEqual(expect.arrayContaining([...paths, 'native.cjs', 'LICENSE', 'README.md']))
  })

  test('contains no sources, tests, tools or binaries', () => {
    const allowed =
      /^(dist\/.+\.js|bin\/[a-z-]+\.js|[a-z-]+\.(js|d\.ts)|native\.(cjs|d\.cts)|package\.json|docs\/.+\.md|(README|CHANGELOG)\.md|LICENSE)$/
    expect(main.contents.filter((path) => !allowed.test(path))).toEqual([])
  })

  test('asks for every platform package, in its own version', () => {
    const installed = JSON.parse(readFileSync(join(app.dir, 'node_modules/nuxt-queue-core/package.json'), 'utf8'))
    const wanted = packedPlatforms.map((each) => [`nuxt-queue-core-${each}`, manifest.version])
    expect(installed.optionalDependencies).toEqual(Object.fromEntries(wanted))
    expect(installed.devDependencies).toBeUndefined()
  })
})

describe('the platform packages', () => {
  test('are the same list everywhere', () => {
    expect(Object.keys(platforms).sort()).toEqual([...manifest.napi.targets].sort())
    expect(Object.values(platforms).sort()).toEqual(packedPlatforms)
    const loader = readFileSync(join(root, 'lib/native.ts'), 'utf8')
    expect(packedPlatforms.filter((each) => !loader.includes(`'${each}'`))).toEqual([])
  })

  test.each(packedPlatforms)('%s goes with the main package', (each) => {
    const own = JSON.parse(readFileSync(join(root, 'npm', each, 'package.json'), 'utf8'))
    const { version, license, engines } = manifest
    expect(own).toMatchObject({ name: `nuxt-queue-core-${each}`, version, license, engines })
    expect([own.main, ...own.files]).toEqual([`nuxt-queue-core.${each}.node`, `nuxt-queue-core.${each}.node`])
    const [os, cpu, libc] = each.split('-')
    expect([own.os, own.cpu]).toEqual([[os], [cpu]])
    expect(own.libc).toEqual(os === 'linux' ? [libc === 'gnu' ? 'glibc' : libc] : undefined)
  })

  test('hold the binary and little else', () => {
    expect(addon.contents).toEqual(['LICENSE', 'README.md', binary, 'package.json'])
  })
})

describe('installed', () => {
  const appendAndRead = `
    EventStore.open().then(async (store) => {
      const { id } = await store.append('nq:flow:1', { type: 'state.set', runId: '1', data: { key: 'a', value: 1 } })
      const [event] = await store.query({ stream: 'nq:flow:1' })
      console.log(JSON.stringify([event.id === id, event.data, await store.state('1').getAll()]))
      await store.close()
    })`
  const expected = '[true,{"key":"a","value":1},{"a":1}]\n'

  test('it can be imported', () => {
    const ended = app.runCode('main.mjs', `import { EventStore } from 'nuxt-queue-core'${appendAndRead}`)
    expect(ended).toEqual({ code: 0, stdout: expected, stderr: '' })
  })

  test('it can be required', () => {
    const ended = app.runCode('main.cjs', `const { EventStore } = require('nuxt-queue-core')${appendAndRead}`)
    // Node 20 says that requiring an ES module is experimental.
    expect([ended.code, ended.stdout]).toEqual([0, expected])
  })

  test('its subpaths can be imported', () => {
    const code = `
      import { VirtualClock } from 'nuxt-queue-core/testing'
      import { createEventStoreFactory } from 'nuxt-queue-core/compat'
      import manifest from 'nuxt-queue-core/package.json' with { type: 'json' }
      const { adapter, names } = createEventStoreFactory()
      await adapter.append(names.flow('1'), { type: 'flow.start' })
      const [event] = await adapter.read('nq:flow:1')
      console.log(new VirtualClock(5).now(), manifest.name, event.type)`
    expect(app.runCode('subpaths.mjs', code).stdout).toBe('5 nuxt-queue-core flow.start\n')
  })

  test('its command is there', () => {
    const { code, stdout, stderr } = app.run('npm', ['exec', '--offline', '--', 'nuxt-queue-core', '--version'])
    expect([code, stdout, stderr]).toEqual([0, `${manifest.version}\n`, ''])
    expect(app.run('npx', ['--offline', 'nuxt-queue-core', 'migrate'], { REDIS_URL: '' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('NQ_CONFIG: Say which Redis'),
    })
  })

  test('a tracer follows it to the binary', async () => {
    const entry = app.write('traced.mjs', `import 'nuxt-queue-core'\n`)
    const { fileList } = await nodeFileTrace([entry], { base: app.dir })
    const found = [...fileList].map((path) => path.replaceAll('\\', '/'))
    expect(found).toEqual(
      expect.arrayContaining([
        'node_modules/nuxt-queue-core/native.cjs',
        `node_modules/nuxt-queue-core-${platform}/${binary}`,
      ]),
    )
  })
})

describe('typed', () => {
  /** Compiles one file the way a strict consumer would, and returns what the compiler says. */
  function compile(name: string, code: string): string {
    app.write('tsconfig.json', JSON.stringify({ compilerOptions, files: [name] }))
    app.write(name, code)
    return app.run(process.execPath, [tool('tsc'), '--project', 'tsconfig.json']).stdout
  }
  const compilerOptions = { module: 'nodenext', target: 'es2023', strict: true, noEmit: true, types: [] }

  const custom = `{ type: 'order.paid', data: { cents: 5 } }`
  const usage = `
    import { EventStore } from 'nuxt-queue-core'
    import { createStateProvider, type StateProvider } from 'nuxt-queue-core/compat'
    import { VirtualClock } from 'nuxt-queue-core/testing'
    export const provider: StateProvider = createStateProvider()
    const store = await EventStore.open({ clock: new VirtualClock() })
    const [event] = await store.query({ stream: 's', types: ['state.set'] })
    export const key: string | undefined = event?.data.key\n`

  test('a consumer compiles, without the types of Node', () => {
    expect(compile('plain.mts', usage)).toBe('')
  })

  test('a CommonJS consumer compiles', () => {
    const code = `import core = require('nuxt-queue-core')\nexport const opened: Promise<core.EventStore> = core.EventStore.open()\n`
    expect(compile('common.cts', code)).toBe('')
  })

  test('a type of its own is an error until it is declared', () => {
    expect(compile('custom.mts', `${usage}await store.append('s', ${custom})\n`)).toContain('order.paid')
  })

  test('a declared type is known', () => {
    const declared = `declare module 'nuxt-queue-core' { interface EventMap { 'order.paid': { cents: number } } }\n`
    const read = `export const cents: number = (await store.append('s', ${custom})).data.cents\n`
    expect(compile('declared.mts', `${usage}${declared}${read}`)).toBe('')
    const wrong = `await store.append('s', { type: 'order.paid', data: { cents: 'five' } })\n`
    expect(compile('wrong.mts', `${usage}${declared}${wrong}`)).toContain(`'string' is not assignable to type 'number'`)
  })
})

describe('without a usable binary', () => {
  const report = `import('nuxt-queue-core').then(
    () => console.log('loaded'),
    (error) => console.log(error.name, error.code, error.cause instanceof Error, error.message),
  )`

  test('a missing platform package is named, with the way to build', () => {
    const bare = Project.create(join(work, 'bare'), [main.file], '--omit=optional')
    const { stdout } = bare.runCode('main.mjs', report)
    expect(stdout).toContain('NuxtQueueError NQ_BINDING true')
    expect(stdout).toContain(`could not be loaded for ${platform}`)
    expect(stdout).toContain(`the file ${binary} beside native.cjs: not there`)
    expect(stdout).toContain(`the package nuxt-queue-core-${platform}: not there`)
    expect(stdout).toContain('npm run build')
  })

  test('a file that is no addon is named, with what the system says of it', () => {
    const broken = new Project(join(work, 'broken'))
    cpSync(app.dir, broken.dir, { recursive: true })
    const file = join(broken.dir, `node_modules/nuxt-queue-core-${platform}`, binary)
    writeFileSync(file, 'no addon')
    const { stdout } = broken.runCode('main.mjs', report)
    expect(stdout).toContain('NuxtQueueError NQ_BINDING true')
    expect(stdout).toContain(`the package nuxt-queue-core-${platform}: found at`)
    expect(stdout).toMatch(/Loading failed with: .+/)
  })

  test('an override that leads nowhere is named', () => {
    const { stdout } = app.runCode('main.mjs', report, { NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere.node' })
    expect(stdout).toContain('NAPI_RS_NATIVE_LIBRARY_PATH=/nowhere.node')
  })
})
