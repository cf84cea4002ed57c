/** Directories for tests. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new, empty directory. */
export function makeDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'nuxt-queue-file-'))
}

/** Removes a directory and what is in it. */
export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}
