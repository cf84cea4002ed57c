/** What `npm test` checks, in order: quick and cheap first. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setupSteps } from '../setup.mjs'
import { generateBinding, generatedFiles } from './addon.mjs'
import { ensureChromium } from './chromium.mjs'
import { capture, run } from './command.mjs'
import { ensureCronsim } from './cronsim.mjs'
import { ensureNuxtApp } from './nuxt-app.mjs'
import { root, tool } from './paths.mjs'
import { ensureRedisServer } from './redis.mjs'
import { ScriptError } from './terminal.mjs'
import { checkRust } from './toolchain.mjs'

/**
 * @typedef {object} Stage
 * @property {string} name for `--only`
 * @property {string} about
 * @property {string[]} [needs] names of stages without which it makes no sense
 * @property {(more: string[]) => Promise<string | void>} run throws when it fails; may return what to say of it. `more`: arguments for the program behind it
 */

const node = process.execPath
const quiet = { quiet: true }

/** @param {string[]} args */
const cargo = (...args) => run('cargo', args, quiet)

/** @param {string[]} args */
const vitest = (...args) => run(node, [tool('vitest'), 'run', ...args])

/** Biome colours letter by letter what it writes in CI, and knows no NO_COLOR. */
const biomeMode = process.env.CI ? ['ci', '--colors=off'] : ['check']

/** Tests that are stages of their own. */
const APART = ['packaging', 'examples', 'nuxt']

/** Typescript projects that are only checked, never emitted. */
const checkedProjects = ['__test__', '__test__/h3', 'examples', 'scripts']

/** @type {Stage[]} */
export const stages = [
  {
    name: 'toolchain',
    about: 'Rust toolchain and linker',
    run: async () => checkRust().cargo,
  },
  ...setupSteps.map(({ name, about, run: step }) => ({
    name,
    about,
    needs: { modules: [], addon: ['toolchain', 'modules'], layer: ['modules'] }[name] ?? [],
    run: () => step({}),
  })),
  {
    name: 'redis',
    about: 'redis-server to start in tests',
    run: ensureRedisServer,
  },
  {
    name: 'cronsim',
    about: 'cronsim to compare schedules with',
    run: ensureCronsim,
  },
  {
    name: 'chromium',
    about: 'Chromium to look at pages with',
    run: ensureChromium,
  },
  {
    name: 'nuxt-app',
    about: 'modules of a Nuxt app',
    run: ensureNuxtApp,
  },
  {
    name: 'format',
    about: 'cargo fmt --check',
    needs: ['toolchain'],
    run: () => cargo('fmt', '--check'),
  },
  {
    name: 'lint',
    about: 'biome',
    needs: ['modules'],
    run: (more) => run(node, [tool('biome'), ...biomeMode, ...more], quiet),
  },
  {
    name: 'types',
    about: 'TypeScript of tests and type tests; JSDoc types of examples and scripts',
    needs: ['modules', 'layer'],
    run: async () => {
      for (const project of checkedProjects) await run(node, [tool('tsc'), '--noEmit', '--project', project], quiet)
    },
  },
  {
    name: 'generated',
    about: `${generatedFiles.join(' and ')} are what the Rust sources say`,
    needs: ['addon'],
    run: checkGenerated,
  },
  {
    name: 'clippy',
    about: 'cargo clippy, warnings denied, with and without the Node binding',
    needs: ['toolchain'],
    run: async () => {
      await cargo('clippy', '--all-targets', '--', '-D', 'warnings')
      await cargo('clippy', '--all-targets', '--no-default-features', '--', '-D', 'warnings')
    },
  },
  {
    name: 'docs',
    about: 'cargo doc, warnings denied',
    needs: ['toolchain'],
    run: () => run('cargo', ['doc', '--no-deps'], { quiet: true, env: { RUSTDOCFLAGS: '-D warnings' } }),
  },
  {
    name: 'rust',
    about: 'cargo test --no-default-features: the core without Node',
    needs: ['toolchain', 'redis'],
    run: async (more) => {
      await cargo('test', '--no-default-features', '--no-run')
      await run('cargo', ['test', '--no-default-features', ...more])
    },
  },
  {
    name: 'js',
    about: 'vitest: conformance, classes, faults',
    needs: ['layer', 'addon', 'redis', 'cronsim'],
    run: (more) => vitest(...APART.flatMap((name) => ['--exclude', `**/${name}.test.ts`]), ...more),
  },
  {
    name: 'packaging',
    about: 'vitest: packed, installed elsewhere, imported, required, traced',
    needs: ['layer', 'addon'],
    run: (more) => vitest('packaging', ...more),
  },
  {
    name: 'nuxt',
    about: 'vitest: a Nuxt app, built, started, looked at, and edited',
    needs: ['layer', 'addon', 'redis', 'chromium', 'nuxt-app'],
    run: (more) => vitest('nuxt.test', ...more),
  },
  {
    name: 'examples',
    about: 'vitest: every example, on memory and on Redis',
    needs: ['layer', 'addon', 'redis'],
    run: (more) => vitest('examples', ...more),
  },
]

/**
 * Generates the binding anew and compares it with the files that lie there, and those with what git has of them:
 * the build before has brought them up to date, which must not go unnoticed.
 */
async function checkGenerated() {
  const dir = mkdtempSync(join(tmpdir(), 'nuxt-queue-generated-'))
  try {
    await generateBinding(dir)
    for (const file of generatedFiles) {
      const fresh = readFileSync(join(dir, file), 'utf8')
      if (fresh !== readFileSync(join(root, file), 'utf8')) throw new ScriptError(`${file} is stale: npm run build`)
      if (isClone() && fresh !== capture('git', ['show', `:${file}`])) {
        throw new ScriptError(`${file} has changed with the Rust sources: look at it, then: git add ${file}`)
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const isClone = () => capture('git', ['rev-parse', '--git-dir']) !== undefined
