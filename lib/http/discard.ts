/**
 * Closes on a sender who still sends.
 */

import type { Chunks } from './body.js'

/** How long is read on at most. */
const LINGER_MS = 2000

/**
 * Reads on for a moment and keeps nothing. A connection that is closed while something comes in is reset, and the
 * answer is lost with it: so the answer is sent first, then comes this, then the end.
 */
export async function discard(rest: Chunks): Promise<void> {
  let over = false
  let timer: NodeJS.Timeout | undefined
  const moment = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LINGER_MS)
  })
  const end = async () => {
    while (!over && !(await rest.next()).done);
  }
  // It fails if the sender leaves, which is an end, too.
  await Promise.race([end().catch(() => {}), moment])
  over = true
  clearTimeout(timer)
}
