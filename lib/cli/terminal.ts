/**
 * Where a command writes: results on stdout, progress and errors on stderr.
 */

/** What of a stream is used. */
interface Output {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
}

export interface Terminal {
  stdout: Output
  stderr: Output
  env: NodeJS.ProcessEnv
  /** Aborted when the user wants it to end. */
  signal: AbortSignal
}

/** Writes a line of the result. */
export function say({ stdout }: Terminal, line = ''): void {
  stdout.write(`${line}\n`)
}

/** A number for people: `12,345`. */
export function count(n: number): string {
  return n.toLocaleString('en-US')
}

/** `1 run`, `2 runs`. */
export function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`
}
