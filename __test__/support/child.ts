/** Programs that run in a process of their own, to see how that process ends. */

import { type ChildProcess, spawn } from 'node:child_process'
import { root } from '../../scripts/lib/paths.mjs'

/** How a program ended. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Milliseconds from its first line of output to its end. */
  afterFirstLine: number
}

/** What a program is given. */
export interface ChildOptions {
  /** Options of Node itself. */
  node?: string[]
  /** Variables beside those of this process. */
  env?: NodeJS.ProcessEnv
  /** When it is killed, and the test with it. */
  timeoutMs?: number
  /** Called once the process runs. */
  onStart?: (child: ChildProcess) => void
}

/**
 * Runs the text of an ES module in the folder of the package: `import { EventStore } from './index.js'` works there.
 * Rejects if the program has to be killed.
 */
export function runCode(code: string, options: ChildOptions = {}): Promise<Ended> {
  return run([...(options.node ?? []), '--input-type=module', '--eval', code], options)
}

/** Runs a file, with its arguments. */
export function runFile(file: string[], options: ChildOptions = {}): Promise<Ended> {
  return run([...(options.node ?? []), ...file], options)
}

function run(args: string[], { env, timeoutMs = 20_000, onStart }: ChildOptions): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onStart?.(child)
  let [stdout, stderr, firstLine] = ['', '', 0]
  child.stdout.setEncoding('utf8').on('data', (text) => {
    firstLine ||= Date.now()
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`the program did not end within ${timeoutMs} ms:\n${stdout}${stderr}`))
    }, timeoutMs)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr, afterFirstLine: firstLine ? Date.now() - firstLine : 0 })
    })
  })
}

/** This process's environment without what the test runner put there, and what would change the outcome. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(NODE_|VITEST|REDIS_URL|NQ_LOG)/.test(name)),
  )
}
