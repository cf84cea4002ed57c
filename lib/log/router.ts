/**
 * Where the lines of a core's runs go.
 */

import type { LoggingConfig, LogStats } from '../../index.js'
import { config as refuse } from '../options.js'
import { type Adapter, isAdapter, writerOf } from './adapter.js'
import type { Format } from './console.js'
import { ExternalLog } from './external-log.js'
import { LEVELS, type Level } from './level.js'
import type { LoggerOptions } from './logger.js'
import { type Sampling, sampleOf } from './sampling.js'

/** How long a core that closes waits for an adapter. In real time. */
const CLOSE_MS = 5000

const ALWAYS: readonly Level[] = ['warn', 'error']

/** What a core was told about its logs. */
export interface Routing {
  /** What is recorded in the runs. */
  level: Level | 'none'
  external?: { level: Level; adapter: Adapter; format?: Format }
  sampling?: Sampling
}

/** Reads a config whose members were checked; throws `NQ_CONFIG` for what does not go together. */
export function readRouting({
  routing = 'internal',
  level = 'debug',
  external,
  sampling,
}: LoggingConfig = {}): Routing {
  const { adapter = 'console', format } = external ?? {}
  if (routing === 'console' && adapter !== 'console') {
    throw refuse("logging.routing is 'console', and logging.external.adapter is another one; set routing: 'external'.")
  }
  if (format !== undefined && adapter !== 'console') {
    throw refuse("logging.external.format is for the adapter 'console'; another one formats its lines itself.")
  }
  const isRecorded = routing === 'internal' || routing === 'both'
  const given = { level: external?.level ?? level, adapter, ...(format && { format }) }
  const { rate = 1, alwaysLog = ALWAYS } = sampling ?? {}
  return {
    level: isRecorded ? level : 'none',
    ...(routing !== 'internal' && { external: given }),
    ...(rate < 1 && { sampling: { rate, alwaysLog: new Set(alwaysLog as Level[]) } }),
  }
}

/** Whether something is a list of levels. */
export function isLevels(value: unknown): boolean {
  return Array.isArray(value) && value.every((level) => LEVELS.includes(level))
}

export { isAdapter }

/** Sends the lines of runs to where they belong. */
export class LogRouter {
  readonly #routing: Routing
  readonly #external: ExternalLog | undefined

  constructor(routing: Routing) {
    const { external } = routing
    this.#routing = routing
    this.#external = external && new ExternalLog(writerOf(external.adapter, external.format))
  }

  /** How a run is logged. `key`: what it belongs to (see {@link sampleOf}). */
  optionsOf(key: string): LoggerOptions {
    const { level, external, sampling } = this.#routing
    const log = this.#external
    return {
      level,
      ...(external && log && { external: { level: external.level, write: (entry) => log.write(entry) } }),
      ...(sampling && { isSampled: sampleOf(sampling, key) }),
    }
  }

  stats(): LogStats {
    return { external: this.#external?.stats() ?? { written: 0, failed: 0, dropped: 0, waiting: 0 } }
  }

  /** Hands over what waits, as far as the adapter takes it in time. */
  async close(): Promise<void> {
    await this.#external?.close(CLOSE_MS)
  }
}
