/**
 * The code of triggers and subscriptions in this process, and what it makes of a payload.
 */

import type { SubscriptionChoice, SubscriptionMode, TriggerContext } from '../../index.js'
import { NuxtQueueError, shown } from '../errors.js'
import type { Json } from '../native-flows.js'
import { validate } from '../schema.js'
import type { TriggerCode } from './definition.js'

type ModeFunction = Extract<SubscriptionMode, (...args: never[]) => unknown>

/** What a trigger makes of a payload: another one, or why it does not fire. */
export type Prepared = { payload: unknown } | { payload: unknown; skip: string } | { issues: string[] }

/** What this process knows of triggers that stands in no event. */
export class LocalCode {
  readonly #triggers = new Map<string, TriggerCode>()
  /** By trigger, then by flow. */
  readonly #modes = new Map<string, Map<string, ModeFunction>>()

  set(name: string, code: TriggerCode): void {
    this.#triggers.set(name, code)
  }

  /** The code of a trigger, as far as its definition still has it. */
  get({ name, code = [] }: { name: string; code?: string[] }): TriggerCode {
    const parts = Object.entries(this.#triggers.get(name) ?? {})
    return Object.fromEntries(parts.filter(([part]) => code.includes(part)))
  }

  remove(name: string): void {
    this.#triggers.delete(name)
    this.#modes.delete(name)
  }

  setMode(triggerName: string, flowName: string, mode: SubscriptionMode | undefined): void {
    const modes = this.#modes.get(triggerName) ?? new Map<string, ModeFunction>()
    if (typeof mode === 'function') modes.set(flowName, mode)
    else modes.delete(flowName)
    this.#modes.set(triggerName, modes)
  }

  /** The parts that a trigger has elsewhere, and not here. */
  missing(name: string, wanted: readonly string[]): string[] {
    const code = (this.#triggers.get(name) ?? {}) as Record<string, unknown>
    return wanted.filter((part) => code[part] === undefined)
  }

  /** Schema, filter and transform, in this order. */
  async prepare(
    trigger: { name: string; code?: string[] },
    payload: unknown,
    context: TriggerContext,
  ): Promise<Prepared> {
    const { name } = trigger
    const { schema, filter, transform } = this.get(trigger)
    let value = payload
    if (schema !== undefined) {
      const outcome = await validate(schema, payload)
      if ('issues' in outcome) return outcome
      value = outcome.value
    }
    if (
      filter !== undefined &&
      !(await run(`config.filter of the trigger ${shown(name)}`, () => filter(value, context)))
    )
      return { payload: value, skip: 'the filter does not mean it' }
    if (transform !== undefined)
      value = await run(`transform of the trigger ${shown(name)}`, () => transform(value, context))
    return { payload: value }
  }

  /** What the subscriptions whose mode is a function of this process make of a payload, by flow. Each has its own copy. */
  async choose(triggerName: string, payload: Json | undefined): Promise<Record<string, string | null>> {
    const modes = new Map<string, string | null>()
    for (const [flowName, choose] of this.#modes.get(triggerName) ?? []) {
      const what = `triggers.mode of the flow ${shown(flowName)}`
      const choice = await run(what, () => choose(payload?.parse(), { triggerName, flowName }))
      modes.set(flowName, checkChoice(choice, what))
    }
    return Object.fromEntries(modes)
  }
}

function checkChoice(choice: SubscriptionChoice, what: string): string | null {
  if (choice === 'skip') return null
  if (choice === 'auto' || choice === 'manual') return choice
  throw new NuxtQueueError('NQ_VALIDATION', `${what} returned ${shown(choice)}; expected 'auto', 'manual' or 'skip'.`)
}

async function run<T>(what: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : shown(cause)
    throw new NuxtQueueError('NQ_VALIDATION', `${what} failed: ${reason}`, { cause })
  }
}
