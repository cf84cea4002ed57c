/**
 * Builds the native addon and the files generated from it.
 *
 * Cargo is called here and not by `napi build`: that runs `cargo build`, which drops link-time optimisation without a
 * word when a crate is both a `cdylib` and an `rlib`. `cargo rustc --crate-type cdylib` keeps it. The napi CLI then
 * writes loader and typings, from the definitions that its derive macro leaves in a folder during the build.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture, run } from './command.mjs'
import { root } from './paths.mjs'
import { contentHash, stamp } from './stamp.mjs'
import { ScriptError } from './terminal.mjs'
import { checkRust } from './toolchain.mjs'

/** The committed files that the napi CLI generates. */
export const generatedFiles = ['native.cjs', 'native.d.cts']

/**
 * @typedef {object} Addon
 * @property {string} file name of the binary, e.g. `nuxt-queue-core.linux-x64-gnu.node`
 * @property {boolean} built whether anything had to be done
 */

/**
 * Makes sure that binary, loader and typings belong to the present sources. Needs the node modules.
 * @param {{ target?: string, force?: boolean }} [options] `target`: a Rust triple when it isn't this machine's
 * @returns {Promise<Addon>}
 */
export async function buildAddon({ target, force = false } = {}) {
  const { rustc } = checkRust()
  const triple = target ?? hostTriple(rustc)
  const file = await binaryName(triple)
  const state = stamp(`addon-${triple}`, {
    inputs: contentHash(
      ['src', 'build.rs', 'Cargo.toml', 'Cargo.lock', '.cargo', 'scripts/lib/addon.mjs'],
      [rustc, process.env.RUSTFLAGS ?? '', napiSettings()],
    ),
    outputs: () => contentHash([file, ...generatedFiles]),
  })
  if (!force && state.isFresh()) return { file, built: false }
  await compile(triple, target !== undefined)
  place(join(targetDir(), target ?? '', 'release', libraryName(triple)), file)
  await generateBinding(root)
  state.write()
  return { file, built: true }
}

/**
 * Writes loader and typings into a folder, from the definitions of the last build.
 * @param {string} outputDir
 */
export async function generateBinding(outputDir) {
  const { generateTypeDef, readNapiConfig, writeJsBinding } = await napiCli()
  const config = await readNapiConfig(join(root, 'package.json'))
  const { exports, dts } = await generateTypeDef({
    typeDefDir: typeDefDir(),
    cwd: root,
    configDtsHeader: config.dtsHeader,
    configDtsHeaderFile: config.dtsHeaderFile,
    constEnum: config.constEnum,
    runtimeStringEnum: config.runtimeStringEnum,
    declareBindingTarget: true,
  })
  if (exports.length === 0) throw new ScriptError('The addon exports nothing: no type definitions were found')
  writeFileSync(join(outputDir, 'native.d.cts'), dts)
  await writeJsBinding({
    platform: true,
    format: 'commonjs',
    jsBinding: 'native.cjs',
    idents: exports,
    binaryName: config.binaryName,
    packageName: config.packageName,
    version: config.packageJson.version,
    outputDir,
  })
}

/**
 * @param {string} triple
 * @param {boolean} isCross
 */
async function compile(triple, isCross) {
  mkdirSync(typeDefDir(), { recursive: true })
  const args = ['rustc', '--release', '--lib', '--crate-type', 'cdylib']
  if (isCross) args.push('--target', triple)
  if (process.env.CI) args.push('--locked')
  await run('cargo', args, {
    quiet: true,
    env: {
      NAPI_TYPE_DEF_TMP_FOLDER: typeDefDir(),
      // The macro writes definitions only while the crate compiles: when they are gone, it must compile again.
      ...(hasTypeDefs() ? {} : { NAPI_FORCE_BUILD_NUXT_QUEUE_CORE: String(Date.now()) }),
      // A musl addon is loaded by a dynamically linked Node.
      ...(triple.endsWith('-musl')
        ? { RUSTFLAGS: `${process.env.RUSTFLAGS ?? ''} -C target-feature=-crt-static` }
        : {}),
    },
  })
}

/**
 * Puts the binary in place by renaming: overwriting a file that a running Node has mapped would crash it.
 * @param {string} library
 * @param {string} file
 */
function place(library, file) {
  const fresh = join(root, `${file}.new`)
  copyFileSync(library, fresh)
  renameSync(fresh, join(root, file))
}

/** Size of a built binary, e.g. `2.9 MB`. @param {string} file */
export const sizeOf = (file) => `${(statSync(join(root, file)).size / 1e6).toFixed(1)} MB`

const typeDefDir = () => join(targetDir(), 'napi-typedefs')

const hasTypeDefs = () => existsSync(join(typeDefDir(), 'nuxt-queue-core'))

/** @type {string | undefined} */
let knownTargetDir
function targetDir() {
  knownTargetDir ??= JSON.parse(
    capture('cargo', ['metadata', '--format-version', '1', '--no-deps', '--offline']) ?? '{}',
  ).target_directory
  return knownTargetDir ?? join(root, 'target')
}

/** @param {string} rustc */
const hostTriple = (rustc) => /^host: (\S+)/m.exec(rustc)?.[1] ?? ''

/**
 * Rust's names of the platforms that packages are made for, and the names of those packages' folders in `npm/`.
 * @type {Record<string, string>}
 */
export const platforms = {
  'x86_64-unknown-linux-gnu': 'linux-x64-gnu',
  'aarch64-unknown-linux-gnu': 'linux-arm64-gnu',
  'x86_64-unknown-linux-musl': 'linux-x64-musl',
  'aarch64-unknown-linux-musl': 'linux-arm64-musl',
  'x86_64-apple-darwin': 'darwin-x64',
  'aarch64-apple-darwin': 'darwin-arm64',
  'x86_64-pc-windows-msvc': 'win32-x64-msvc',
}

/** @param {string} triple */
async function binaryName(triple) {
  const platform = platforms[triple] ?? (await napiCli()).parseTriple(triple).platformArchABI
  return `nuxt-queue-core.${platform}.node`
}

/** @param {string} triple */
function libraryName(triple) {
  if (triple.includes('windows')) return 'nuxt_queue_core.dll'
  return triple.includes('apple') ? 'libnuxt_queue_core.dylib' : 'libnuxt_queue_core.so'
}

/** What the generated files take from package.json. */
function napiSettings() {
  const { name, version, napi } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return JSON.stringify({ name, version, napi })
}

/** Imported late: on a fresh clone it is installed by the step before. */
const napiCli = () => import('@napi-rs/cli')
