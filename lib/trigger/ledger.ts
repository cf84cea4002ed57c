/**
 * The record of requests that came to webhooks.
 */

import { createHash } from 'node:crypto'
import type { Delivery, WebhookRequest } from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError, shown } from '../errors.js'
import { Json } from '../native-flows.js'

/** How many requests that are not known to be genuine are recorded at once, and how many a second after that. */
const BURST = 500
const A_SECOND = 10

/** What a delivery is made of. */
export interface DeliveryParts {
  request: WebhookRequest
  /** The path without the query. */
  path: string
  /** Headers that may be recorded. */
  headers: Record<string, string>
  query: Record<string, string | string[]>
  keepsBody: boolean
  providerId?: string | undefined
}

/** A delivery as it is when it arrives. */
export type Arrival = Omit<Delivery, 'verdict' | 'status'>

/** Writes and reads deliveries. */
export class Ledger {
  readonly #engine: Engine
  readonly #budget = new Map<string, { left: number; at: number; unrecorded: number }>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** The delivery that a request is. */
  arrival({ request, path, headers, query, keepsBody, providerId }: DeliveryParts): Arrival {
    const { method, body, ip } = request
    return {
      deliveryId: this.#engine.flows.newId(),
      ...(providerId !== undefined && { providerId }),
      ...{ method: readable(method.toUpperCase().slice(0, 20)), path: readable(path.slice(0, 2048)) },
      ...(Object.keys(query).length > 0 && { query }),
      ...(Object.keys(headers).length > 0 && {
        headers: Object.fromEntries(Object.entries(headers).map(readableEntry)),
      }),
      ...(ip !== undefined && { ip: readable(ip.slice(0, 64)) }),
      ...{ bytes: body.byteLength, sha256: createHash('sha256').update(body).digest('hex') },
      ...(keepsBody && toText(body)),
    }
  }

  /** Records a request that did not fire. */
  async record(name: string, arrival: Arrival, outcome: Pick<Delivery, 'verdict' | 'status' | 'reason' | 'fireId'>) {
    const rejected = outcome.verdict === 'rejected'
    // Anybody can send these: they must not fill the store.
    const unrecorded = rejected ? this.#spend(name) : 0
    if (unrecorded === undefined) return
    const delivery = { ...arrival, ...outcome, ...(unrecorded > 0 && { unrecordedBefore: unrecorded }) }
    try {
      await this.#write(name, delivery, rejected)
    } catch (error) {
      if (!isTooLarge(error)) throw error
      await this.#write(name, withoutBody(delivery), rejected)
    }
  }

  async #write(name: string, delivery: Delivery, rejected: boolean): Promise<void> {
    const packed = Json.of(delivery, 'The delivery') as Json
    await this.#engine.call('recordDelivery', { name, delivery: packed, rejected })
  }

  async list(name: string, options: { limit: number | undefined; verdict: string | undefined }) {
    return await this.#engine.call('deliveries', { name, ...options } as { name: string })
  }

  /** A delivery by its id, or throws `NQ_NOT_FOUND`. */
  async find(deliveryId: string): Promise<{ name: string; delivery: Delivery & { timestamp: string } }> {
    const found = await this.#engine.call('findDelivery', { deliveryId })
    if (found !== null) return found
    throw new NuxtQueueError('NQ_NOT_FOUND', `There is no delivery ${shown(deliveryId)}, or not any more.`)
  }

  /** How many were not recorded since the last one that was, or `undefined` if this one is not to be either. */
  #spend(name: string): number | undefined {
    const now = Date.now()
    const budget = this.#budget.get(name) ?? { left: BURST, at: now, unrecorded: 0 }
    this.#budget.set(name, budget)
    budget.left = Math.min(BURST, budget.left + ((now - budget.at) / 1000) * A_SECOND)
    budget.at = now
    if (budget.left < 1) {
      budget.unrecorded += 1
      return undefined
    }
    budget.left -= 1
    const { unrecorded } = budget
    budget.unrecorded = 0
    return unrecorded
  }
}

/** The body of a delivery, if it was kept. */
export function bodyOf({ body, bodyBase64, bytes }: Delivery): Uint8Array | undefined {
  if (body !== undefined) return Buffer.from(body)
  if (bodyBase64 !== undefined) return Buffer.from(bodyBase64, 'base64')
  return bytes === 0 ? new Uint8Array() : undefined
}

/** A delivery without its body, for one that does not fit into an event. */
export function withoutBody<D extends Arrival>({ body: _body, bodyBase64: _base64, ...rest }: D) {
  return rest
}

export function isTooLarge(error: unknown): boolean {
  return error instanceof NuxtQueueError && error.code === 'NQ_TOO_LARGE'
}

/** Text that can be read back, whatever it was cut off from. */
function readable(text: string): string {
  return text.toWellFormed()
}

function readableEntry([name, value]: [string, string]): [string, string] {
  return [readable(name), readable(value)]
}

function toText(body: Uint8Array): { body: string } | { bodyBase64: string } {
  try {
    // With a mark at its beginning it would come back without.
    return { body: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body) }
  } catch {
    return { bodyBase64: Buffer.from(body).toString('base64') }
  }
}
