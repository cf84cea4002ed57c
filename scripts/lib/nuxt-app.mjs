/** The modules of a Nuxt app, installed once for the tests that build one. */

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { cacheDir, root } from './paths.mjs'

const manifests = join(root, '__test__/nuxt')
const stamp = join(cacheDir, 'nuxt-app/installed.json')

/** Where they are: a folder with `node_modules`. */
export const nuxtApp = join(cacheDir, 'nuxt-app')

/** @returns {Promise<string>} what is installed */
export async function ensureNuxtApp() {
  const lock = readFileSync(join(manifests, 'package-lock.json'), 'utf8')
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
    rmSync(nuxtApp, { recursive: true, force: true })
    mkdirSync(nuxtApp, { recursive: true })
    for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(manifests, name), join(nuxtApp, name))
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: nuxtApp, quiet: true })
    writeFileSync(stamp, lock)
  }
  const { version } = JSON.parse(readFileSync(join(nuxtApp, 'node_modules/nuxt/package.json'), 'utf8'))
  return `Nuxt ${version}`
}
