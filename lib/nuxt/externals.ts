/**
 * Takes this package with its addon into what Nitro builds. Nitro leaves packages in `node_modules` outside its bundle and
 * copies what they need, so the addon may not be bundled, and a package that is a symbolic link (in a workspace) is copied here.
 */

import { existsSync, realpathSync } from 'node:fs'
import { cp, mkdir, readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Nitro, NitroConfig } from './hosts.js'

const PACKAGE = 'nuxt-queue-core'
/** What is loaded by name, if the app has it. */
const OPTIONAL = ['bullmq', 'ioredis', '@opentelemetry/api']
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Whether this package lies where Nitro looks for what it copies. */
function isInstalled(): boolean {
  return realpathSync(ROOT).split(/[\\/]/).includes('node_modules')
}

/** Keeps this package outside the bundle. */
export function externalise(config: NitroConfig, rootDir: string): void {
  const { external = [], traceInclude = [], ...externals } = config.externals ?? {}
  config.externals = { ...externals, external: [...external, PACKAGE, `${PACKAGE}/nuxt/server`], traceInclude }
  if (isInstalled()) return
  config.externals.traceInclude = [...traceInclude, ...optionalEntries(rootDir)]
  const { plugins = [], ...rollup } = config.rollupConfig ?? {}
  config.rollupConfig = { ...rollup, plugins: [asItIs, plugins].flat() }
}

/** Leaves imports of this package as they are. */
const asItIs = {
  name: PACKAGE,
  resolveId: {
    order: 'pre',
    handler: (id: string) => (id === PACKAGE || id.startsWith(`${PACKAGE}/`) ? { id, external: true } : null),
  },
}

/** Copies this package into what was built, where Nitro does not. */
export function copyIfLinked(nitro: Nitro): void {
  if (nitro.options.dev || isInstalled()) return
  nitro.hooks.hook('compiled', async () => {
    const modules = join(nitro.options.output.serverDir, 'node_modules')
    await copyPackage(ROOT, join(modules, PACKAGE))
    for (const platform of await platformPackages()) {
      await copyPackage(platform, join(modules, `${PACKAGE}-${platform.split(`${PACKAGE}-`).pop()}`))
    }
  })
}

/** What `package.json` says that belongs to a package, and an addon that was built in place. */
async function copyPackage(from: string, to: string): Promise<void> {
  const { files = [] } = JSON.parse(await readFile(join(from, 'package.json'), 'utf8')) as { files?: string[] }
  const addons = (await readdir(from)).filter((name) => name.endsWith('.node'))
  await mkdir(to, { recursive: true })
  for (const name of new Set(['package.json', ...files, ...addons])) {
    if (name !== 'docs' && existsSync(join(from, name))) await cp(join(from, name), join(to, name), { recursive: true })
  }
}

/** The folders of the packages that hold the addon for a platform. */
async function platformPackages(): Promise<string[]> {
  const { optionalDependencies = {} } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    optionalDependencies?: Record<string, string>
  }
  const found = Object.keys(optionalDependencies).map((name) => resolved(`${name}/package.json`, ROOT))
  return found.filter((path) => path !== undefined).map((path) => dirname(path))
}

function optionalEntries(rootDir: string): string[] {
  return OPTIONAL.map((name) => resolved(name, rootDir)).filter((path) => path !== undefined)
}

function resolved(id: string, folder: string): string | undefined {
  try {
    return createRequire(join(folder, 'package.json')).resolve(id)
  } catch {
    return undefined
  }
}
