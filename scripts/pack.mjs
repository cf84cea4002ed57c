/**
 * Packs what is published: the main package, and a package for each platform whose binary is there.
 *
 *     node scripts/pack.mjs --out release [--from artifacts]
 *
 * The main package asks for its platform packages as optional dependencies of its own version. They stand in the packed
 * package.json only: in the repository's they would make `npm ci` look for packages that a release has yet to publish.
 *
 * To release: build `nuxt-queue-core.<platform>.node` on each platform (`npm run build`, or `-- --target TRIPLE`),
 * gather them in one folder, pack from it, then `npm publish` each tarball, the main one last.
 */

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { captureOrThrow } from './lib/command.mjs'
import { root } from './lib/paths.mjs'
import { item, runScript, ScriptError } from './lib/terminal.mjs'
import { ensureSetup } from './setup.mjs'

/** Said of a package beside what its `files` name. */
const texts = ['README.md', 'LICENSE', 'CHANGELOG.md']

/** Names of the folders in `npm/`. */
export const packedPlatforms = readdirSync(join(root, 'npm')).sort()

/**
 * @typedef {object} Tarball
 * @property {string} file absolute path
 * @property {string[]} contents paths inside, sorted
 */

/**
 * Packs the main package. `dist/` and the generated loader must be built.
 * @param {string} outDir
 * @returns {Tarball}
 */
export function packMain(outDir) {
  const { scripts: _scripts, devDependencies: _devDependencies, ...manifest } = readManifest('.')
  manifest.optionalDependencies = Object.fromEntries(
    packedPlatforms.map((platform) => [`${manifest.name}-${platform}`, manifest.version]),
  )
  return pack(manifest, outDir, (dir) => {
    for (const path of [...manifest.files, ...texts]) copyIfThere(join(root, path), join(dir, path))
  })
}

/**
 * Packs the package of one platform.
 * @param {string} platform a folder of `npm/`
 * @param {string} binary the built addon
 * @param {string} outDir
 * @returns {Tarball}
 */
export function packPlatform(platform, binary, outDir) {
  const manifest = readManifest(join('npm', platform))
  manifest.version = readManifest('.').version
  return pack(manifest, outDir, (dir) => {
    cpSync(binary, join(dir, manifest.main))
    cpSync(join(root, 'npm', platform, 'README.md'), join(dir, 'README.md'))
    cpSync(join(root, 'LICENSE'), join(dir, 'LICENSE'))
  })
}

/**
 * @param {Record<string, any>} manifest
 * @param {string} outDir
 * @param {(dir: string) => void} fill puts the files into the folder that is packed
 * @returns {Tarball}
 */
function pack(manifest, outDir, fill) {
  const dir = mkdtempSync(join(tmpdir(), 'nuxt-queue-pack-'))
  try {
    fill(dir)
    writeFileSync(join(dir, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    mkdirSync(outDir, { recursive: true })
    const answer = captureOrThrow(
      'npm',
      ['pack', '--json', '--ignore-scripts', '--pack-destination', resolve(outDir)],
      dir,
    )
    const [packed] = /** @type {Array<{ filename: string, files: Array<{ path: string }> }>} */ (JSON.parse(answer))
    if (!packed) throw new ScriptError(`npm pack made nothing of ${manifest.name}`)
    return { file: join(resolve(outDir), packed.filename), contents: packed.files.map(({ path }) => path).sort() }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** @param {string} folder @returns {Record<string, any>} */
const readManifest = (folder) => JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))

/**
 * @param {string} from
 * @param {string} to
 */
function copyIfThere(from, to) {
  if (existsSync(from)) cpSync(from, to, { recursive: true })
}

async function main() {
  const { values } = parseArgs({ options: { out: { type: 'string' }, from: { type: 'string', default: root } } })
  if (!values.out) throw new ScriptError('Say where to: --out DIR')
  await ensureSetup()
  for (const platform of packedPlatforms) {
    const binary = join(values.from, readManifest(join('npm', platform)).main)
    const there = existsSync(binary)
    item(there ? '✔' : '-', platform, there ? packPlatform(platform, binary, values.out).file : `no ${binary}`)
  }
  item('✔', 'main', packMain(values.out).file)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await runScript(main)
