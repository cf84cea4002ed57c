/**
 * The Nuxt module. It tells Nitro what to do, and needs nothing but what Nuxt hands to it.
 */

import { watch } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { copyIfLinked, externalise } from './externals.js'
import type { Nitro, NitroConfig, Nuxt } from './hosts.js'
import { readOptions, toRuntimeConfig } from './options.js'
import { scan, serverFolders } from './scan.js'
import { PLUGIN, pluginCode, ROUTES, routesCode, SERVER, typesCode } from './templates.js'

/** What is imported by its name in all of the server's code. */
const IMPORTS = [
  ...['defineQueueConfig', 'defineQueueWorker', 'emitTrigger', 'reduceState', 'registerTrigger', 'useEventManager'],
  ...['useEventStore', 'useFlowEngine', 'useLogs', 'useQueueCore', 'useRegistry', 'useTriggers'],
]

/** How long changes of files may follow one another before they are looked at. */
const QUIET_MS = 50

/** Documented in `nuxt.d.ts`. */
async function setup(inline: object | undefined, nuxt: Nuxt): Promise<void> {
  const options = readOptions(nuxt.options.queue, inline)
  const servers = serverFolders(nuxt)
  let files = await scan(servers)
  nuxt.options.runtimeConfig.queue = toRuntimeConfig(options)

  nuxt.hook('nitro:config', (nitro) => {
    const { queues, routes, webhooks } = options
    nitro.virtual = {
      ...nitro.virtual,
      [PLUGIN]: () => pluginCode(files, { queues, isDev: nuxt.options.dev }),
      [ROUTES]: routesCode(),
    }
    const views = ['/api/_flows', '/api/_flows/**', '/api/_registry', '/api/_triggers', '/api/_triggers/**']
    // The URLs of awaits and webhooks are for everybody, and check their callers themselves.
    const open = ['/api/_triggers/await/**', `${webhooks}/**`]
    const handled = [...(routes ? views : []), ...open].map((route) => ({ route, handler: ROUTES, lazy: true }))
    nitro.handlers = [...(nitro.handlers ?? []), ...handled]
    addImports(nitro)
    externalise(nitro, nuxt.options.rootDir)
  })

  const types = join(nuxt.options.buildDir, 'types/nuxt-queue.d.ts')
  const writeTypes = async () => {
    const importOf = (path: string) =>
      relative(dirname(types), path)
        .replaceAll('\\', '/')
        .replace(/\.([cm]?)ts$/, '.$1js')
    await mkdir(dirname(types), { recursive: true })
    await writeFile(types, typesCode(files, importOf))
  }
  nuxt.hook('nitro:prepare:types', async ({ references }) => {
    await writeTypes()
    references.push({ path: types })
  })

  nuxt.hook('nitro:init', (nitro) => {
    // First, so that the app's plugins find a core that is being opened. In the config it would be taken for a file.
    nitro.options.plugins.unshift(PLUGIN)
    copyIfLinked(nitro)
    if (!nuxt.options.dev || nuxt.options._prepare) return
    // A handler that is changed is Nitro's business; one that comes or goes changes what there is to import.
    const rescan = async () => {
      const before = JSON.stringify(files)
      files = await scan(servers)
      if (JSON.stringify(files) === before) return
      await writeTypes()
      await reload(nitro)
    }
    nuxt.hook('close', watchFolders(servers, rescan))
  })
}

async function reload(nitro: Nitro): Promise<void> {
  await nitro.hooks.callHook('rollup:reload')
}

function addImports(nitro: NitroConfig): void {
  if (nitro.imports === false) return
  const imports = [...(nitro.imports?.imports ?? []), ...IMPORTS.map((name) => ({ name, from: SERVER }))]
  nitro.imports = { ...nitro.imports, imports }
}

/** Calls when files come or go below folders, once they are quiet. Returns how to stop. */
function watchFolders(folders: readonly string[], changed: () => Promise<void>): () => void {
  let timer: NodeJS.Timeout | undefined
  const look = () => {
    clearTimeout(timer)
    timer = setTimeout(() => void changed().catch((error) => console.error(error)), QUIET_MS)
  }
  const watchers = folders.flatMap((folder) => {
    try {
      return [watch(folder, { recursive: true, persistent: false }, look)]
    } catch {
      // There is no such folder.
      return []
    }
  })
  return () => {
    clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
  }
}

export default Object.assign(setup, {
  getMeta: async () => ({ name: 'nuxt-queue-core', configKey: 'queue', compatibility: { nuxt: '>=3.17.0' } }),
  getOptions: async (inline: object | undefined) => ({ ...inline }),
})
