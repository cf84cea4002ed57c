import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('ask-cronsim.py', import.meta.url))

/** Seconds since the Unix epoch for each question; `null` where cronsim refuses the expression. */
export async function askCronsim(python: string, questions: object[]): Promise<(number[] | null)[]> {
  if (!existsSync(python)) throw new Error('cronsim is not installed: npm test -- --only cronsim')
  // Time zones are those of its package, whatever the system has.
  const child = spawn(python, [program], { env: { PYTHONTZPATH: '' }, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  child.stdin.end(JSON.stringify(questions))
  const [answer, code] = await Promise.all([text(child.stdout), ended])
  if (code !== 0) throw new Error(`cronsim ended with ${code}`)
  return JSON.parse(answer)
}
