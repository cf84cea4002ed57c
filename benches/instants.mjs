// The Rust side of schedules, `instants.rs`, in a process of its own: it computes what it is asked for, one line each.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { run } from '../scripts/lib/command.mjs'
import { root } from '../scripts/lib/paths.mjs'

const CARGO = ['bench', '--quiet', '--no-default-features', '--bench', 'instants']

/** Compiles it, which takes some minutes the first time. */
export function buildInstants() {
  return run('cargo', [...CARGO, '--no-run'], { quiet: true })
}

/**
 * Starts it.
 *
 * @returns {{ ask(line: string): Promise<{ ns: number, instants: number[] }>, close(): Promise<void> }}
 */
export function startInstants() {
  const child = spawn('cargo', [...CARGO, '--', '--serve'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] })
  // It ends with its input, so with this process, too.
  const gone = once(child, 'close').then(([code, signal]) => code ?? signal)
  const lines = createInterface({ input: child.stdout })
  return {
    ask: async (line) => {
      const lost = gone.then((how) => {
        throw new Error(`instants ended with ${how}`)
      })
      child.stdin.write(`${line}\n`)
      const [answer] = await Promise.race([once(lines, 'line'), lost])
      return JSON.parse(answer)
    },
    close: async () => {
      child.stdin.end()
      await gone
    },
  }
}
