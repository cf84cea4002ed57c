/**
 * The core of a server: opened when the server starts, closed when it ends, and found by whoever asks for it in between.
 */

import type { QueueConfig, QueueCore, TriggerDefinition } from '../../../index.js'
import { NuxtQueueError } from '../../errors.js'
import { open } from '../../open.js'
import { checkName } from '../../query.js'
import { fromRuntimeConfig } from '../options.js'
import { type HandlerModule, type QueueOptions, readHandlers } from './handlers.js'

/** What is used of a running Nitro. */
export interface NitroApp {
  hooks: {
    hook(name: string, handler: (...args: never[]) => unknown): void
    callHook(name: string, ...args: unknown[]): Promise<unknown>
  }
}

export interface ServerOptions {
  queues: QueueOptions
  isDev: boolean
}

/** The pause before a store is tried again that could not be reached. */
const AGAIN_MS = 1000

/** How long handlers may go on when a server for developers makes room for the next. */
const DEV_CLOSE = '1s'

/** What passes by itself. */
const PASSING = ['NQ_UNAVAILABLE', 'NQ_TIMEOUT']

/** The core of a server. */
export class QueueRuntime {
  readonly app: NitroApp
  readonly isDev: boolean
  /** Resolves when the store was opened, or could not be at the first attempt. */
  readonly tried: Promise<void>
  /** Resolves with the core, however long that takes; rejects if it never will be. */
  readonly opened: Promise<QueueCore>
  /** The first part of the names of streams. */
  prefix = 'nq'
  #core: QueueCore | undefined
  #problem: unknown
  #isClosed = false

  constructor(
    app: NitroApp,
    config: Record<string, unknown>,
    handlers: readonly HandlerModule[],
    options: ServerOptions,
  ) {
    this.app = app
    this.isDev = options.isDev
    let tried = () => {}
    this.tried = new Promise((resolve) => {
      tried = resolve
    })
    this.opened = this.#open(config, handlers, options, tried).finally(tried)
    this.opened.catch((error) => this.#fail(error))
  }

  /** The core, if it is open. */
  get core(): QueueCore {
    if (this.#core !== undefined) return this.#core
    if (this.#isClosed) throw new NuxtQueueError('NQ_CLOSED', 'The server is closing; its queue is closed already.')
    const why =
      this.#problem instanceof Error
        ? this.#problem.message
        : 'it is being opened; await useQueueCore() where that matters'
    throw new NuxtQueueError('NQ_UNAVAILABLE', `The queue is not open: ${why}`, { cause: this.#problem })
  }

  async #open(
    given: Record<string, unknown>,
    handlers: readonly HandlerModule[],
    { queues, isDev }: ServerOptions,
    tried: () => void,
  ): Promise<QueueCore> {
    // The app's plugins come behind this one, and may have something to say.
    await null
    const { core: config, workers } = fromRuntimeConfig(given)
    await this.app.hooks.callHook('queue:config', config)
    this.prefix = config.eventStore?.prefix ?? this.prefix
    const work = readHandlers(handlers, queues)
    const core = await this.#openCore(config, tried)
    try {
      for (const flow of work.flows) core.flows.define(flow)
      for (const [queue, worker] of workers ? work.workers : []) {
        const { handlers, concurrency } = worker
        await core.worker(queue, handlers, {
          ...(concurrency && { concurrency }),
          ...(isDev && { closeTimeout: DEV_CLOSE }),
        })
      }
    } catch (error) {
      await core.close()
      throw error
    }
    if (this.#isClosed) await core.close()
    else this.#core = core
    return core
  }

  /** Opens it, again and again while the store can't be reached. */
  async #openCore(config: QueueConfig, tried: () => void): Promise<QueueCore> {
    for (;;) {
      try {
        return await open(config)
      } catch (error) {
        if (!isPassing(error) || this.#isClosed) throw error
        if (this.#problem === undefined) report('can’t reach its store, and tries again each second', error)
        this.#problem = error
        tried()
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
      }
    }
  }

  /** A server that can't do what it is for should not look as if it could; one for developers shows what is wrong. */
  #fail(error: unknown): void {
    if (this.#isClosed) return
    this.#problem = error
    report('could not be started', error)
    if (!this.isDev) process.exit(1)
  }

  /** The name of a run's stream; `*` stands for all runs. */
  streamOf(runId: string): string {
    return `${this.prefix}:flow:${checkName(runId, 'runId')}`
  }

  async register(definition: TriggerDefinition): Promise<void> {
    const core = await this.opened
    try {
      await core.registerTrigger(definition)
    } catch (error) {
      report(`could not register the trigger ${JSON.stringify(definition?.name)}`, error)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const core = this.#core
    this.#core = undefined
    await core?.close()
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof NuxtQueueError && PASSING.includes(error.code)
}

function report(what: string, error: unknown): void {
  const isOwn = error instanceof NuxtQueueError
  const why =
    error instanceof Error
      ? isOwn
        ? `${error.code}: ${error.message}`
        : (error.stack ?? error.message)
      : String(error)
  console.error(`[nuxt-queue] The queue ${what}. ${why}`)
}
