/** Processes that work on flows, and are killed. */

import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { FlowDefinition, QueueConfig, RunStatus, TriggerDefinition, WorkerOptions } from '../../index.js'

/** What processes run: a module of this folder. */
type Program =
  | 'telemetry-worker.mjs'
  | 'flow-worker.mjs'
  | 'trigger-worker.mjs'
  | 'schedule-worker.mjs'
  | 'registry-worker.mjs'

/** What a process is told at its start; see `flow-worker.mjs`. */
export interface FleetOptions {
  config: QueueConfig
  queue: string
  /** The point at which handlers stop for ever. */
  hold?: string | undefined
  worker?: WorkerOptions
}

/** The same for `trigger-worker.mjs`. */
export interface TriggerFleetOptions {
  urls: string[]
  queue?: string
}

/** The same for `schedule-worker.mjs`. */
export interface ScheduleFleetOptions {
  url: string
  queue: string
  schedules: TriggerDefinition[]
  began: number
  start: number
  speed: number
  skew: number
}

/** The same for `registry-worker.mjs`. */
export interface RegistryFleetOptions {
  config: QueueConfig
  steps: string[]
}

/** The same for `telemetry-worker.mjs`. */
export interface TelemetryFleetOptions {
  url: string
  flow: FlowDefinition
  step: string
}

/** A point that a handler has reached. */
interface Point {
  at: string
  runId: string
  member: Member
}

/** One process. */
export class Member {
  readonly process: ChildProcess
  /** Rejects when the process has ended. */
  readonly #gone: Promise<never>
  /** What somebody waits for, by name. */
  readonly #wanted = new Map<string, (value: never) => void>()

  constructor(program: Program, options: object, onPoint: (point: Point) => void) {
    // It inherits neither the flags of the test runner nor a pipe of it.
    this.process = fork(fileURLToPath(new URL(program, import.meta.url)), [JSON.stringify(options)], {
      execArgv: [],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#gone = once(this.process, 'exit').then(([code, signal]) => {
      throw new Error(`the process has ended with ${code ?? signal}`)
    })
    this.#gone.catch(() => {})
    this.process.on('message', (message: Record<string, never>) => {
      if ('at' in message) onPoint({ ...(message as unknown as Point), member: this })
      for (const [name, value] of Object.entries(message)) this.#wanted.get(name)?.(value)
    })
  }

  /** The value of the next message that has this name in it. */
  async message<T>(name: string): Promise<T> {
    const wanted = new Promise<T>((resolve) => this.#wanted.set(name, resolve))
    return await Promise.race([wanted, this.#gone])
  }

  /** Where handlers stop from now on; nowhere without a point. */
  hold(point?: string): void {
    if (this.process.connected) this.process.send({ hold: point ?? null })
  }

  /** Sends a message that has an answer. */
  async ask<T>(message: object): Promise<T> {
    const as = randomUUID()
    const answered = this.message<T>(as)
    this.process.send({ ...message, as })
    return await answered
  }

  async status(runIds: string[]): Promise<RunStatus[]> {
    return await this.ask({ status: runIds })
  }

  /** Stops the process where it is; its connections stay open. */
  freeze(): void {
    this.process.kill('SIGSTOP')
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.#gone.catch(() => {})
  }

  async close(): Promise<void> {
    if (this.process.connected) this.process.send({ close: true })
    await this.#gone.catch(() => {})
  }
}

/** Several processes that share a queue. */
export class Fleet {
  readonly members = new Set<Member>()
  readonly #points: Point[] = []
  readonly #program: Program
  #look = () => {}

  constructor(program: Program = 'flow-worker.mjs') {
    this.#program = program
  }

  /** Starts so many processes more. */
  async start(
    count: number,
    options: FleetOptions | TriggerFleetOptions | ScheduleFleetOptions | RegistryFleetOptions | TelemetryFleetOptions,
  ): Promise<Member[]> {
    const started = Array.from(
      { length: count },
      () => new Member(this.#program, options, (point) => this.#reach(point)),
    )
    for (const member of started) this.members.add(member)
    await Promise.all(started.map((member) => member.message('ready')))
    return started
  }

  /** The first process that reaches a point; `name` or `name:times`, counted over all processes. */
  async reached(name: string, timeoutMs = 20_000): Promise<Point> {
    const [at, times = '1'] = name.split(':')
    const find = () => this.#points.filter((point) => point.at === at)[Number(times) - 1]
    return await new Promise<Point>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`nobody came to ${name}; points so far: ${this.#points.map((point) => point.at)}`))
      }, timeoutMs)
      this.#look = () => {
        const point = find()
        if (!point) return
        clearTimeout(timer)
        resolve(point)
      }
      this.#look()
    })
  }

  async kill(member: Member): Promise<void> {
    this.members.delete(member)
    await member.kill()
  }

  /** Where handlers stop from now on; nowhere without a point. */
  hold(point?: string): void {
    for (const member of this.members) member.hold(point)
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.members].map((member) => this.kill(member)))
  }

  #reach(point: Point): void {
    this.#points.push(point)
    this.#look()
  }
}
