/**
 * The native addon, or an error that says what to do.
 *
 * `createRequire` and the literal path are what tracers such as `@vercel/nft` (Nitro uses it) follow to find the addon.
 */

import { createRequire } from 'node:module'
import { NuxtQueueError } from './errors.js'

const require = createRequire(import.meta.url)

/** Prebuilt packages are published for these; the folders of `npm/` carry the same names. */
const PREBUILT = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
]

/** The classes and functions that `native.d.cts` declares. */
export const native = load()

function load(): typeof import('../native.cjs') {
  try {
    return require('../native.cjs')
  } catch (cause) {
    // The loader nests an error for every name that it tried; what matters of them is in the message.
    const [reason = 'no file and no package was found'] = reasons(cause)
    throw new NuxtQueueError('NQ_BINDING', explain(cause), { cause: new Error(reason) })
  }
}

function explain(cause: unknown): string {
  const platform = platformName()
  const override = process.env.NAPI_RS_NATIVE_LIBRARY_PATH
  const looked = override ? [`NAPI_RS_NATIVE_LIBRARY_PATH=${override}`] : candidates(platform)
  return [
    `The native addon of nuxt-queue-core could not be loaded for ${platform} (Node ${process.versions.node}). Looked for:`,
    ...looked.map((line) => `  - ${line}`),
    ...reasons(cause).map((reason) => `Loading failed with: ${reason}`),
    PREBUILT.includes(platform)
      ? `Install without --omit=optional, on the platform that runs it: the package nuxt-queue-core-${platform} comes as an optional dependency.`
      : `There is no prebuilt package for ${platform}, only for ${PREBUILT.join(', ')}.`,
    'Or build it: in a clone of the repository with Rust installed (https://rustup.rs), run `npm run build`.',
  ].join('\n')
}

/** The two places that `native.cjs` tries, and what is there. */
function candidates(platform: string): string[] {
  const file = `nuxt-queue-core.${platform}.node`
  const name = `nuxt-queue-core-${platform}`
  return [`the file ${file} beside native.cjs: ${state(`../${file}`)}`, `the package ${name}: ${state(name)}`]
}

function state(specifier: string): string {
  try {
    return `found at ${require.resolve(specifier)}, but not usable`
  } catch {
    return 'not there'
  }
}

/** What the system said of a file that is there: everything in the chain of causes but "not found". */
function reasons(cause: unknown): string[] {
  const found: string[] = []
  for (let error = cause; error instanceof Error; error = error.cause) {
    const [message = ''] = error.message.split('\n')
    if (!/^Cannot find (module|native binding)/.test(message)) found.push(message)
  }
  return found
}

/** As the napi CLI names it: system, processor, and the C library where there are several. */
function platformName(): string {
  const { platform, arch } = process
  if (platform === 'win32') return `${platform}-${arch}-msvc`
  return platform === 'linux' ? `${platform}-${arch}-${libc()}` : `${platform}-${arch}`
}

function libc(): 'gnu' | 'musl' {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return report.header?.glibcVersionRuntime ? 'gnu' : 'musl'
}
