/**
 * What is common to all servers: answers, whatever comes of a request.
 */

import type * as surface from '../../index.js'
import { NuxtQueueError } from '../errors.js'
import { checkObject, checkOptions, invalid } from '../query.js'
import { warn } from '../warn.js'

type Triggers = Pick<surface.TriggerEngine, 'handleWebhook'>
type Refused = 'gone' | 'aborted' | 'too large'

const DEFAULT_BYTES = 1 << 20

/** What passes by itself, so that a sender should try again. */
const PASSING = ['NQ_UNAVAILABLE', 'NQ_TIMEOUT', 'NQ_CLOSED']

const GONE =
  'The body of a webhook was parsed before its handler came to it, so its raw bytes are gone. Mount the handler before ' +
  'the body parser, or let the parser keep the bytes as rawBody of the request.'

/** Answers the requests of one handler. */
export class Webhooks {
  /** How many bytes of a body are read at most. */
  readonly most: number
  readonly #triggers: Triggers
  #warned = false

  constructor(triggers: Triggers, options: surface.HttpHandlerOptions = {}) {
    const { maxBodyBytes = DEFAULT_BYTES } = checkOptions(options, ['maxBodyBytes'])
    if (!Number.isSafeInteger(maxBodyBytes) || maxBodyBytes < 0) {
      throw invalid('maxBodyBytes', maxBodyBytes, 'a whole number of bytes')
    }
    if (typeof checkObject(triggers, 'triggers').handleWebhook !== 'function') {
      throw invalid('triggers', triggers, 'a TriggerEngine, such as core.triggers')
    }
    this.#triggers = triggers
    this.most = maxBodyBytes
  }

  /** The engine's answer. Never rejects, and never tells the sender what went wrong inside. */
  async answer(request: surface.WebhookRequest): Promise<surface.WebhookResponse> {
    try {
      return await this.#triggers.handleWebhook(request)
    } catch (error) {
      return this.fail(error)
    }
  }

  /** The answer if something failed, which is told as a warning. */
  fail(error: unknown): surface.WebhookResponse {
    warn('A webhook could not be handled', error, 'NQ_WEBHOOK')
    const passes = error instanceof NuxtQueueError && PASSING.includes(error.code)
    return passes ? respond(503, 'unavailable', { 'retry-after': '5' }) : respond(500, 'internal error')
  }

  /** The answer if there are no bytes. */
  refuse(why: Refused): surface.WebhookResponse {
    // Nobody reads it, unless it was a platform that could not hand the body over.
    if (why === 'aborted') return respond(400, 'the body could not be read')
    if (why === 'too large') return respond(413, `more than ${this.most} bytes`)
    if (!this.#warned) process.emitWarning(GONE, { type: 'NuxtQueueWarning', code: 'NQ_RAW_BODY' })
    this.#warned = true
    return respond(500, 'raw body needed')
  }
}

function respond(status: number, error: string, headers: Record<string, string> = {}): surface.WebhookResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ error }) }
}
