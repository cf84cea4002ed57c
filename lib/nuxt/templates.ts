/**
 * The code that is made for an app: what its server starts with, and its types.
 */

import type { HandlerFile } from './scan.js'

/** Where what is used on the server is imported from. */
export const SERVER = 'nuxt-queue-core/nuxt/server'

/** The names of virtual modules. */
export const PLUGIN = '#nuxt-queue/plugin'
export const ROUTES = '#nuxt-queue/routes'

/** The plugin that opens the core when the server starts, with all handlers. */
export function pluginCode(files: readonly HandlerFile[], options: object): string {
  const imports = files.map(({ path }, n) => `import * as handler${n} from ${JSON.stringify(path)}`)
  const handlers = files.map(({ name }, n) => `  { name: ${JSON.stringify(name)}, module: handler${n} },`)
  return [
    `import { useRuntimeConfig } from 'nitropack/runtime'`,
    `import { startQueue } from '${SERVER}'`,
    ...imports,
    `const handlers = [`,
    ...handlers,
    `]`,
    `export default (nitroApp) => {`,
    `  // Nothing runs while pages are rendered ahead.`,
    `  if (!import.meta.prerender) startQueue(nitroApp, useRuntimeConfig().queue, handlers, ${JSON.stringify(options)})`,
    `}`,
  ].join('\n')
}

/** The handler of all routes. */
export function routesCode(): string {
  return `export { handleQueueRequest as default } from '${SERVER}'`
}

/** The types of an app's handlers, and of the hooks. `importOf`: from where the file will be. */
export function typesCode(files: readonly HandlerFile[], importOf: (path: string) => string): string {
  const members = files.map(
    ({ name, path }) => `    ${JSON.stringify(name)}: typeof import(${JSON.stringify(importOf(path))})`,
  )
  return [
    `// Made by nuxt-queue-core: the handlers below server/queues.`,
    `import type { H3Event } from 'h3'`,
    `import type { QueueHooks } from '${SERVER}'`,
    `declare module 'nitropack/types' {`,
    `  interface NitroRuntimeHooks extends QueueHooks<H3Event> {}`,
    `}`,
    `declare module '${SERVER}' {`,
    `  interface QueueHandlers {`,
    ...members,
    `  }`,
    `}`,
    ``,
  ].join('\n')
}
