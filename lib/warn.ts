/**
 * Trouble in the background, where no call could fail with it.
 */

/** Says what went wrong where nobody waits for it. */
export function warn(what: string, error: unknown, code: string): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.emitWarning(`${what}: ${detail}`, { type: 'NuxtQueueWarning', code })
}
