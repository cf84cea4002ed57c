/**
 * The handlers of an app: the modules below `server/queues` of the app and of the layers that it extends.
 */

import { readdir } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import type { Nuxt } from './hosts.js'

/** A module that holds the handler of a step. */
export interface HandlerFile {
  /** Absolute. */
  path: string
  /** Below `server/queues`, without its extension: `orders/approve`. */
  name: string
}

const HANDLER = /\.(?:[cm]?[jt]s)$/
const OTHER = /(?:\.d\.[cm]?ts|\.(?:test|spec)\.[cm]?[jt]s)$/

/** Where the servers of an app and its layers are, the app's own first. */
export function serverFolders({ options }: Pick<Nuxt, 'options'>): string[] {
  return options._layers.map(({ cwd, config }, index) => {
    if (index === 0 && options.serverDir !== undefined)
      return join(options.rootDir, relative(options.rootDir, options.serverDir))
    return join(config.rootDir ?? cwd, config.serverDir ?? 'server')
  })
}

/** Finds all handlers. What the app has goes before what a layer has under the same name. */
export async function scan(servers: readonly string[]): Promise<HandlerFile[]> {
  const found = new Map<string, HandlerFile>()
  for (const server of servers) {
    const folder = join(server, 'queues')
    for (const path of await filesBelow(folder)) {
      const name = relative(folder, path).replace(HANDLER, '').split(sep).join('/')
      if (!found.has(name)) found.set(name, { path, name })
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function filesBelow(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const isHandler = (name: string) => HANDLER.test(name) && !OTHER.test(name) && !name.startsWith('_')
    return entries
      .filter((entry) => entry.isFile() && isHandler(entry.name))
      .map(({ parentPath, path, name }) => join(parentPath ?? path, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
