/**
 * Plays the conformance scenarios of tests/conformance through the package's public API.
 * The format is described in tests/conformance/README.md.
 */

import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { EventStore, NuxtQueueError, type StoreOptions } from '../../index.js'
import { VirtualClock } from '../../testing.js'
import { operations, type Stage } from './scenario-operations.js'
import { at, compareIds, mismatch, type Names, resolve, show } from './scenario-values.js'

/** One step: exactly one operation, and what is expected of it. */
export interface Step {
  [operation: string]: unknown
  about?: string
  store?: string
  times?: number
  unawaited?: true
  as?: string
  until?: unknown
  sortBy?: string
  pluck?: string | string[]
  expect?: unknown
  like?: unknown
  count?: number
  increasing?: string
  decreasing?: string
  error?: string | { code: string; message: string }
  outcomes?: Record<string, number>
}

/** A story that has to go the same way on every backend. */
export interface Scenario {
  name: string
  about?: string
  /** Capabilities without which the story can't be told. */
  requires?: Capability[]
  /** Options that the store is opened with, beside the backend's own. */
  options?: StoreOptions
  /** Where the virtual clock starts. */
  clock?: string
  steps: Step[]
}

/** The scenarios of one file. */
export interface Subject {
  subject: string
  scenarios: Scenario[]
}

/** What a backend or a runner may be able to do; README.md says what each means. */
export type Capability = (typeof CAPABILITIES)[number]
const CAPABILITIES = ['virtualClock', 'shared', 'untyped', 'loneSurrogates', 'throwingHandler'] as const

/** What this runner brings, whatever the backend is. */
const RUNNER: Capability[] = ['untyped', 'loneSurrogates', 'throwingHandler']

/** A home for events that the scenarios are played on. */
export interface Backend {
  name: string
  capabilities: Capability[]
  /** Makes the options that lead the stores of a scenario to this backend. */
  options: () => StoreOptions
}

const DIRECTORY = new URL('../../tests/conformance/', import.meta.url)
const FIRST_INSTANT = '2025-01-01T00:00:00.000Z'
const STEP_MEMBERS = new Set(
  'about store times unawaited as until sortBy pluck expect like count increasing decreasing error outcomes'.split(' '),
)
const SCENARIO_MEMBERS = new Set(['name', 'about', 'requires', 'options', 'clock', 'steps'])

/** All scenarios, checked for members and operations that don't exist. */
export function loadSubjects(): Subject[] {
  const files = readdirSync(DIRECTORY)
    .filter((name) => name.endsWith('.json'))
    .sort()
  return files.map((name) => {
    const subject: Subject = JSON.parse(readFileSync(new URL(name, DIRECTORY), 'utf8'))
    subject.scenarios.forEach(checkScenario)
    return subject
  })
}

function checkScenario(scenario: Scenario): void {
  const wrong = [
    ...Object.keys(scenario).filter((member) => !SCENARIO_MEMBERS.has(member)),
    ...(scenario.requires ?? []).filter((capability) => !CAPABILITIES.includes(capability)),
    ...scenario.steps.flatMap((step) => (operationOf(step) ? [] : [show(step)])),
  ]
  if (wrong.length > 0) throw new Error(`Scenario "${scenario.name}": don't know ${wrong.join(', ')}`)
}

/** The one member that names an operation; `undefined` if there is none or more than one. */
function operationOf(step: Step): string | undefined {
  const rest = Object.keys(step).filter((member) => !STEP_MEMBERS.has(member))
  const known = rest.length === 1 && [operations, stageHands].some((all) => Object.hasOwn(all, rest[0]))
  return known ? rest[0] : undefined
}

/** Whether a scenario can be told on a backend. */
export function canPlay(scenario: Scenario, backend: Backend): boolean {
  const able = [...backend.capabilities, ...RUNNER]
  return (scenario.requires ?? []).every((capability) => able.includes(capability))
}

/** Plays a scenario from the first step to the last; throws at the first that goes another way. */
export async function play(scenario: Scenario, backend: Backend): Promise<void> {
  const staged = new Play(scenario, backend)
  try {
    await staged.run()
  } finally {
    await staged.end()
  }
}

type Outcome = { value: unknown } | { error: unknown }

/** Operations of the play itself rather than of a store. */
const stageHands: Record<string, (play: Play, args: never) => unknown> = {
  open: (play, { name, options }: { name: string; options?: StoreOptions }) => play.open(name, options),
  close: (play, name: string) => play.store(name).close(),
  settle: (play) => play.settle(),
}

class Play {
  private readonly names: Names
  private readonly stores = new Map<string, EventStore>()
  private readonly subscriptions: Stage['subscriptions'] = new Map()
  private readonly clock?: VirtualClock
  /** What leads its stores to one place. */
  private readonly options: StoreOptions
  private pending: Array<() => Promise<void>> = []

  constructor(
    private readonly scenario: Scenario,
    backend: Backend,
  ) {
    this.options = backend.options()
    const unique = randomUUID().slice(0, 13)
    this.names = { texts: { s: `conformance:${unique}`, run: `run-${unique}` }, results: new Map() }
    if (scenario.requires?.includes('virtualClock')) this.clock = new VirtualClock(scenario.clock ?? FIRST_INSTANT)
  }

  async run(): Promise<void> {
    await this.open('main', this.scenario.options)
    for (const [index, step] of this.scenario.steps.entries()) {
      const awaited = this.perform(step, `step ${index + 1}`)
      if (step.unawaited) this.pending.push(awaited)
      else await awaited()
    }
    await this.settle()
  }

  async end(): Promise<void> {
    await Promise.allSettled([...this.stores.values()].map((store) => store.close()))
  }

  async open(name: string, options: StoreOptions = {}): Promise<void> {
    const clock = this.clock ? { clock: this.clock } : {}
    this.stores.set(name, await EventStore.open({ ...this.options, ...clock, ...options }))
  }

  store(name: string): EventStore {
    const store = this.stores.get(name)
    if (!store) throw new Error(`No store "${name}" was opened`)
    return store
  }

  async settle(): Promise<void> {
    const pending = this.pending
    this.pending = []
    for (const settled of pending) await settled()
  }

  /** Starts a step's calls, in order; the returned function waits for them and checks how they went. */
  private perform(step: Step, place: string): () => Promise<void> {
    const calls: Array<Promise<Outcome>> = []
    const start = (i: number) => {
      const call = this.call(step, i)
      calls.push(call)
      return call
    }
    const started = step.unawaited ? all(step.times ?? 1, start) : sequence(step.times ?? 1, start)
    return async () => {
      await started
      try {
        this.check(step, await Promise.all(calls))
      } catch (error) {
        throw new Error(`${place} ${show(step)}\n${(error as Error).message}`, { cause: error })
      }
    }
  }

  private async call(step: Step, i: number): Promise<Outcome> {
    try {
      const name = String(operationOf(step))
      const args = resolve(step[name], { ...this.names, texts: { ...this.names.texts, i } }) as never
      const hand = Object.hasOwn(stageHands, name) ? stageHands[name] : undefined
      return { value: await (hand ? hand(this, args) : operations[name](args, this.stage(step))) }
    } catch (error) {
      return { error }
    }
  }

  private stage(step: Step): Stage {
    return {
      store: this.store(step.store ?? 'main'),
      stream: String(this.names.texts.s),
      run: String(this.names.texts.run),
      clock: this.clock,
      subscriptions: this.subscriptions,
      name: step.as,
      until: resolve(step.until, this.names),
    }
  }

  private check(step: Step, outcomes: Outcome[]): void {
    if (step.outcomes !== undefined) {
      must(mismatch(step.outcomes, tally(outcomes), 'exact'))
    } else if (step.error !== undefined) {
      const expected = resolve(step.error, this.names) as Step['error']
      for (const outcome of outcomes) checkError(expected, outcome)
    } else {
      this.checkResult(step, step.times === undefined ? taken(outcomes[0]) : outcomes.map(taken))
    }
  }

  private checkResult(step: Step, result: unknown): void {
    if (step.as !== undefined) this.names.results.set(step.as, result)
    const items = step.sortBy === undefined ? result : sorted(result, step.sortBy)
    const seen = step.pluck === undefined ? items : plucked(items, step.pluck)
    if (step.count !== undefined) must(mismatch(step.count, (seen as unknown[]).length, 'exact', '.length'))
    if (step.increasing !== undefined) mustClimb(plucked(items, step.increasing) as string[], 1)
    if (step.decreasing !== undefined) mustClimb(plucked(items, step.decreasing) as string[], -1)
    for (const mode of ['expect', 'like'] as const) {
      if (!Object.hasOwn(step, mode)) continue
      must(mismatch(resolve(step[mode], this.names), seen, mode === 'like' ? 'like' : 'exact'))
    }
  }
}

async function sequence(count: number, start: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i += 1) await start(i)
}

function all(count: number, start: (i: number) => unknown): void {
  for (let i = 0; i < count; i += 1) start(i)
}

function taken(outcome: Outcome): unknown {
  if ('error' in outcome) throw outcome.error
  return outcome.value
}

function must(wrong: string | undefined): void {
  if (wrong !== undefined) throw new Error(wrong)
}

function checkError(expected: Step['error'], outcome: Outcome): void {
  const { code, message } =
    typeof expected === 'string' ? { code: expected, message: '' } : (expected ?? { code: '', message: '' })
  if (!('error' in outcome)) throw new Error(`expected ${code}, got the result ${show(outcome.value)}`)
  const { error } = outcome
  if (!(error instanceof NuxtQueueError)) throw new Error(`expected ${code}, got ${error}`, { cause: error })
  if (error.code !== code) throw new Error(`expected ${code}, got ${error.code}: ${error.message}`)
  if (!error.message.includes(message)) throw new Error(`expected a message with "${message}", got "${error.message}"`)
}

/** How many calls went well (`ok`), and how many failed with which code. */
function tally(outcomes: Outcome[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const outcome of outcomes) {
    const key = 'error' in outcome ? ((outcome.error as NuxtQueueError).code ?? String(outcome.error)) : 'ok'
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

function sorted(result: unknown, path: string): unknown[] {
  const key = (item: unknown) => String(at(item, path))
  return [...(result as unknown[])].sort((a, b) => (key(a) < key(b) ? -1 : Number(key(a) > key(b))))
}

function plucked(result: unknown, path: string | string[]): unknown {
  if (!Array.isArray(result)) return typeof path === 'string' ? at(result, path) : path.map((each) => at(result, each))
  return result.map((item) => plucked(item, path))
}

function mustClimb(ids: string[], direction: 1 | -1): void {
  const wrong = ids.findIndex((id, index) => index > 0 && compareIds(id, ids[index - 1]) !== direction)
  if (wrong > 0) throw new Error(`ids out of order: ${ids[wrong - 1]} then ${ids[wrong]}`)
}
