/** Starting other programs. */

import { spawn, spawnSync } from 'node:child_process'
import { root } from './paths.mjs'
import { dim, duration, isInteractive, ScriptError, say } from './terminal.mjs'

const TICK_MS = 10_000
const TAIL_LINES = 80

/** Many tools colour their output in CI, where it is read as text; who wants that sets FORCE_COLOR. */
const plain = process.stdout.isTTY || process.env.FORCE_COLOR ? {} : { NO_COLOR: '1', TERM: 'dumb' }

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd] the repository when absent
 * @property {NodeJS.ProcessEnv} [env] added to this process's environment; `undefined` removes a variable
 * @property {boolean} [quiet] keep the output back unless the program fails or someone is watching; a line every ten seconds shows that it lives
 */

/**
 * Runs a program to its end.
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 * @throws {ScriptError} when it can't be started or ends with anything but 0
 */
export async function run(command, args, options = {}) {
  const held = options.quiet === true && !isInteractive
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...plain, ...options.env },
    stdio: held ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    shell: needsShell(command),
  })
  const output = held ? holdOutput(child) : undefined
  const end = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new ScriptError(`${command} could not be started: ${error.message}`)))
    child.once('close', (code, signal) => resolve(code ?? signal))
  }).finally(() => output?.stop())
  if (end === 0) return
  if (output) say(output.tail())
  throw new ScriptError(`${[shortName(command), ...args].join(' ')} ended with ${end}`)
}

/**
 * Runs one of the repository's own programs in the foreground.
 * @param {string} file relative to the repository
 * @param {string[]} args
 * @returns {Promise<number>} its exit code
 */
export function runNode(file, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...args], { cwd: root, stdio: 'inherit' })
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}

/**
 * Collects a child's output and says every ten seconds what its last line was.
 * @param {import('node:child_process').ChildProcess} child
 */
function holdOutput(child) {
  const started = Date.now()
  let text = ''
  const collect = (/** @type {Buffer} */ chunk) => {
    text += chunk
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  const timer = setInterval(() => {
    const last = lines(text).at(-1)?.trim() ?? ''
    say(dim(`    … ${duration(Date.now() - started)}  ${last.slice(0, 90)}`))
  }, TICK_MS)
  return {
    stop: () => clearInterval(timer),
    tail: () => lines(text).slice(-TAIL_LINES).join('\n'),
  }
}

/** @param {string} text */
const lines = (text) => text.split(/\r?\n/).filter((line) => line.trim() !== '')

/**
 * The text that a program prints, or `undefined` when it isn't there or fails.
 * @param {string} command
 * @param {string[]} args
 */
export function capture(command, args) {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    shell: needsShell(command),
    maxBuffer: 1 << 26,
  })
  return result.status === 0 ? result.stdout : undefined
}

/**
 * The text that a program prints.
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 * @throws {ScriptError} with what it said, when it fails
 */
export function captureOrThrow(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', shell: needsShell(command), maxBuffer: 1 << 26 })
  if (result.status === 0) return result.stdout
  const said = result.error?.message ?? `${result.stdout}${result.stderr}`
  throw new ScriptError(`${[command, ...args].join(' ')} failed in ${cwd}:\n${said}`)
}

/**
 * Node starts `npm.cmd` and its like through a shell only.
 * @param {string} command
 */
const needsShell = (command) => process.platform === 'win32' && !command.endsWith('.exe')

/** @param {string} command */
const shortName = (command) => (command === process.execPath ? 'node' : command)
