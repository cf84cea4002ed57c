/**
 * Requests that fire triggers: found by their path, checked by their raw bytes, recorded, and answered.
 */

import type * as surface from '../../index.js'
import type { Engine } from '../engine.js'
import { NuxtQueueError, shown } from '../errors.js'
import { Json, type KnownTrigger } from '../native-flows.js'
import { warn } from '../warn.js'
import { checkWebhook, webhookProblems } from '../webhook-check.js'
import { AWAIT_PATH, answerAwait } from './await-webhook.js'
import { fieldsOf, readBody } from './body.js'
import { keptHeaders, ofUnknown, withoutSecrets } from './credentials.js'
import type { TriggerCode } from './definition.js'
import { checkRequest, headerList, headerOf, respond, toParameters } from './http.js'
import { type Arrival, bodyOf, isTooLarge, Ledger, withoutBody } from './ledger.js'
import type { Registry } from './registry.js'
import type { Fired, FireOptions } from './trigger-engine.js'

const MOST_BYTES = 1 << 20

/** Of path and query together, in characters: it has to fit into an event beside everything else. */
const LONGEST_URL = 1 << 16

/** How soon a provider may come again that came too early, in seconds. */
const SOON = '5'

/** What webhooks need of the engine. */
export interface WebhookNeeds {
  engine: Engine
  registry: Registry
  fire: (name: string, payload: unknown, options: FireOptions) => Promise<Fired>
  /** Signs the URLs of awaits. */
  secret: () => string | Uint8Array
  resolveSecret: surface.TriggerConfig['resolveSecret']
}

/** A request on its way. */
interface Passage {
  trigger: KnownTrigger
  request: surface.WebhookRequest
  params: Record<string, string>
  /** As it was sent. */
  sent: URLSearchParams
  /** Without credentials. */
  query: URLSearchParams
  arrival: Arrival
}

/** Why a request goes no further. */
interface Refusal {
  verdict: 'refused' | 'rejected'
  reason: string
  response: surface.WebhookResponse
}

type Route = ReturnType<Engine['flows']['route']>

/** Answers requests to webhooks. */
export class Webhooks {
  readonly #needs: WebhookNeeds
  readonly #ledger: Ledger
  #lastRefresh = Number.NEGATIVE_INFINITY

  constructor(needs: WebhookNeeds) {
    this.#needs = needs
    this.#ledger = new Ledger(needs.engine)
  }

  async handle(given: surface.WebhookRequest): Promise<surface.WebhookResponse> {
    const request = checkRequest(given)
    const { telemetry } = this.#needs.engine
    const handle = () => this.#handle(request)
    return await (telemetry ? telemetry.receive(request.headers, handle) : handle())
  }

  async #handle(request: surface.WebhookRequest): Promise<surface.WebhookResponse> {
    const [path = '', search = ''] = split(request.path)
    // Behind a proxy, or in a framework that has a base path, something may stand before it.
    const at = path.indexOf(AWAIT_PATH)
    if (at >= 0) {
      const { engine, secret } = this.#needs
      return await answerAwait(engine, secret, request, path.slice(at + AWAIT_PATH.length))
    }
    const route = await this.#route(request.method, path)
    if (route === null) return respond(404, { error: 'not found' })
    if ('allow' in route) return respond(405, { error: 'method not allowed' }, { allow: route.allow.join(', ') })
    const { registry } = this.#needs
    const trigger = registry.get(route.name)
    if (trigger === undefined) return respond(404, { error: 'not found' })
    // What a framework made of it may lack what comes twice.
    const query = search === '' ? toParameters(request.query) : new URLSearchParams(search)
    if (path.length + query.toString().length > LONGEST_URL) return respond(414, { error: 'the URL is too long' })
    return await this.#receive(trigger, { ...request, path }, Object.fromEntries(route.params), query)
  }

  /** What keeps the check of a webhook from working as far as its secrets and code go. They are never shown. */
  async secretProblems(data: Record<string, unknown>, code: TriggerCode): Promise<string[]> {
    const auth = (data.endpoint as surface.WebhookEndpoint | undefined)?.auth
    if (auth === undefined) return []
    const { secret: _secret, verify: _verify, ...settings } = auth
    const secrets = await this.#secretsOf(settings, code)
    const problems = secrets === undefined ? [missingSecret(settings)] : webhookProblems(settings, secrets)
    if ((auth.type === 'custom') !== (code.verify !== undefined))
      problems.push("endpoint.auth.verify belongs to type 'custom', which needs it")
    return problems.map((problem) => problem.replace(/\.$/, ''))
  }

  async #route(method: string, path: string): Promise<Route> {
    const found = this.#find(method, path)
    // Somebody may have registered it a moment ago. Not asked for each request: anybody can send any path.
    if (found !== null || !this.#needs.engine.options.isShared || Date.now() - this.#lastRefresh < 1000) return found
    this.#lastRefresh = Date.now()
    await this.#needs.engine.flows.refreshTriggers()
    return this.#find(method, path)
  }

  #find(method: string, path: string): Route {
    return this.#needs.engine.flows.route(method.toUpperCase(), path)
  }

  async #receive(
    trigger: KnownTrigger,
    request: surface.WebhookRequest,
    params: Record<string, string>,
    sent: URLSearchParams,
  ): Promise<surface.WebhookResponse> {
    const { endpoint, config } = trigger.definition
    const most = endpoint?.maxBodyBytes ?? MOST_BYTES
    const isTooLong = request.body.byteLength > most
    const auth = endpoint?.auth
    const code = this.#needs.engine.code.get(trigger.definition)
    const secrets = auth === undefined ? [] : await this.#secretsOf(auth, code)
    const query = withoutSecrets(sent, auth, secrets)
    const headers = keptHeaders(headerList(request.headers), trigger.keptHeaders, secrets)
    const passage: Passage = {
      ...{ trigger, request, params, sent, query },
      arrival: this.#ledger.arrival({
        ...{ request, path: request.path, headers, query: fieldsOf(query) },
        keepsBody: config?.persistData !== false && !isTooLong,
      }),
    }
    if (!trigger.enabled) return await this.#refuse(passage, rejection(404, 'not found', 'disabled'))
    if (isTooLong) return await this.#refuse(passage, rejection(413, `more than ${most} bytes`, 'too-large'))
    const nowMs = this.#needs.engine.options.timers.now()
    const refusal = auth === undefined ? undefined : await this.#check(passage, auth, secrets, nowMs)
    if (refusal !== undefined) return await this.#refuse(passage, refusal)
    return await this.#take(passage)
  }

  /** Whether a request is genuine. */
  async #check(
    passage: Passage,
    auth: surface.WebhookAuth,
    secrets: string[] | undefined,
    nowMs: number,
  ): Promise<Refusal | undefined> {
    const { request, sent, trigger } = passage
    const { name } = trigger.definition
    const code = this.#needs.engine.code.get(trigger.definition)
    const lacks = (trigger.definition.code ?? []).includes('verify') && code.verify === undefined
    if (secrets === undefined || lacks) {
      warn(
        'A webhook can not be checked',
        `this process does not know the secret or the code of ${shown(name)}`,
        'NQ_WEBHOOK',
      )
      return {
        ...rejection(503, 'not ready', 'no-secret'),
        response: respond(503, { error: 'not ready' }, { 'retry-after': SOON }),
      }
    }
    const { method, path, ip, body } = request
    const received = { method, path, query: sent.toString(), headers: headerList(request.headers), body }
    const verdict = checkWebhook(auth, { ...received, ...(ip !== undefined && { ip }) }, secrets, nowMs)
    if (!verdict.accepted) return rejection(401, 'unauthorized', verdict.reason)
    if (auth.type === 'custom' && !(await isVerified(code, request))) return rejection(401, 'unauthorized', 'verify')
    if (verdict.id !== undefined) passage.arrival.providerId = verdict.id
    if (verdict.key !== undefined) passage.arrival.key = verdict.key
    return undefined
  }

  /** `undefined`: this process does not know them. */
  async #secretsOf(auth: surface.WebhookAuth, code: TriggerCode): Promise<string[] | undefined> {
    if (code.secrets !== undefined) return code.secrets
    if (auth.secretRef === undefined) return ['ip', 'custom'].includes(auth.type) ? [] : undefined
    const resolve = this.#needs.resolveSecret ?? ((ref: string) => process.env[ref])
    const found = await this.#resolve(resolve, auth.secretRef)
    const secrets = (Array.isArray(found) ? found : [found]).filter((secret) => (secret ?? '') !== '')
    // Nothing else goes on from here: an error about it would show it.
    return secrets.length > 0 && secrets.every((secret) => typeof secret === 'string') ? secrets : undefined
  }

  async #resolve(resolve: (name: string) => unknown, secretRef: string): Promise<unknown> {
    try {
      return await resolve(secretRef)
    } catch (error) {
      warn(`triggers.resolveSecret failed for ${shown(secretRef)}`, error, 'NQ_WEBHOOK')
      return undefined
    }
  }

  /** A genuine request. */
  async #take(passage: Passage): Promise<surface.WebhookResponse> {
    const { request, query, trigger, params, arrival } = passage
    const isRead = request.method.toUpperCase() === 'GET'
    const body = isRead ? { value: fieldsOf(query) } : readBody(request.body, headerOf(request.headers, 'content-type'))
    if ('problem' in body) {
      const isUnsupported = body.problem === 'unsupported'
      return await this.#refuse(passage, {
        ...{ verdict: 'refused', reason: body.problem },
        response: isUnsupported
          ? respond(415, { error: 'send JSON, a form or text' })
          : respond(400, { error: 'the body is malformed' }),
      })
    }
    const challenge = slackChallenge(trigger, body.value)
    if (challenge !== undefined) return respond(200, { challenge })
    const { name } = trigger.definition
    const context = { triggerName: name, params, query: toObject(query), headers: arrival.headers ?? {} }
    try {
      return await this.#fired(passage, await this.#fire(passage, body.value, context))
    } catch (error) {
      return await this.#failed(passage, error)
    }
  }

  async #fire(passage: Passage, payload: unknown, context: surface.TriggerContext): Promise<Fired> {
    const { trigger, arrival } = passage
    const { key } = arrival
    const { name } = trigger.definition
    const fire = async (kept: Arrival) => {
      const delivery = Json.of({ ...kept, verdict: 'accepted', status: 200 }, 'The delivery') as Json
      const options = { delivery, context, ...(key !== undefined && { idempotencyKey: key }) }
      return await this.#needs.fire(name, payload, options)
    }
    try {
      return await fire(arrival)
    } catch (error) {
      if (!isTooLarge(error)) throw error
      return await fire(withoutBody(arrival))
    }
  }

  async #repeated(name: string, arrival: Arrival, fireId: string): Promise<surface.WebhookResponse> {
    await this.#ledger.record(name, withoutBody(arrival), { verdict: 'repeated', status: 200, fireId })
    return respond(200, { status: 'repeated', fireId })
  }

  async #fired(passage: Passage, { firing, repeated }: Fired): Promise<surface.WebhookResponse> {
    const { fireId, status, reason = 'skipped', retryAfter } = firing
    if (repeated) return await this.#repeated(passage.trigger.definition.name, passage.arrival, fireId)
    if (retryAfter !== undefined) {
      const seconds = String(Math.max(1, Math.ceil(retryAfter / 1000)))
      const response = respond(429, { error: 'too many requests' }, { 'retry-after': seconds })
      return await this.#refuse(passage, { verdict: 'refused', reason, response })
    }
    if (status !== 'skipped') return respond(200, { status: 'accepted', fireId })
    return await this.#refuse(passage, {
      verdict: 'refused',
      reason,
      response: respond(200, { status: 'skipped', reason }),
    })
  }

  async #failed(passage: Passage, error: unknown): Promise<surface.WebhookResponse> {
    if (!(error instanceof NuxtQueueError)) throw error
    const refuse = (status: number, said: object, headers?: Record<string, string>) =>
      this.#refuse(passage, { verdict: 'refused', reason: error.message, response: respond(status, said, headers) })
    switch (error.code) {
      case 'NQ_VALIDATION':
      case 'NQ_INVALID_EVENT':
        return await refuse(400, { error: error.cause === undefined ? error.message : 'the payload was refused' })
      case 'NQ_TOO_LARGE':
        return await refuse(413, { error: 'more than an event may hold' })
      case 'NQ_CONFIG':
        warn('A webhook could not be handled', error, 'NQ_WEBHOOK')
        return await refuse(503, { error: 'not ready' }, { 'retry-after': SOON })
      default:
        throw error
    }
  }

  async #refuse({ trigger, arrival }: Passage, refusal: Refusal): Promise<surface.WebhookResponse> {
    const { verdict, reason, response } = refusal
    const kept = verdict === 'rejected' ? ofUnknown(arrival, trigger.canCheckAgain) : arrival
    await this.#ledger.record(trigger.definition.name, kept, { verdict, reason, status: response.status })
    return response
  }

  /** Handles a recorded request once more, as of its arrival. */
  async redeliver(deliveryId: string, again: boolean): Promise<surface.WebhookResponse> {
    const { name, delivery } = await this.#ledger.find(deliveryId)
    const { engine, registry } = this.#needs
    const trigger = await registry.find(name)
    const { timestamp, verdict: _verdict, status: _status, reason: _reason, fireId, ...rest } = delivery
    const { unrecordedBefore: _unrecorded, redeliveryOf = deliveryId, ...before } = rest
    const arrival = { key: `delivery:${redeliveryOf}`, ...before, deliveryId: engine.flows.newId(), redeliveryOf }
    // Its key may be forgotten by now.
    if (fireId !== undefined && !again) return await this.#repeated(name, arrival, fireId)
    const { method, path, headers = {}, ip } = delivery
    const body = bodyOf(delivery)
    if (body === undefined) throw notAgain(deliveryId, 'its body is not kept')
    const auth = trigger.definition.endpoint?.auth
    const request = { method, path, headers, body, ...(ip !== undefined && { ip }) }
    const query = toParameters(delivery.query)
    const found = engine.flows.route(method, path)
    const params = found !== null && 'params' in found ? Object.fromEntries(found.params) : {}
    const passage: Passage = { trigger, request, params, sent: query, query, arrival }
    if (auth !== undefined && !trigger.canCheckAgain) {
      if (delivery.verdict === 'rejected')
        throw notAgain(deliveryId, 'it was rejected by its sender, or by credentials that are not kept')
    } else if (auth !== undefined) {
      // The addresses of proxies are not kept.
      const { allow: _allow, trustedProxies: _proxies, ...signature } = auth
      const secrets = await this.#secretsOf(auth, engine.code.get(trigger.definition))
      const refusal = await this.#check(passage, signature, secrets, Date.parse(timestamp))
      if (refusal !== undefined) return await this.#refuse(passage, refusal)
    }
    if (again) passage.arrival.key = `delivery:${passage.arrival.deliveryId}`
    return await this.#take(passage)
  }
}

function split(path: string): [string, string] {
  const at = path.indexOf('?')
  return at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)]
}

function rejection(status: number, error: string, reason: string): Refusal {
  return { verdict: 'rejected', reason, response: respond(status, { error }) }
}

function notAgain(deliveryId: string, reason: string): NuxtQueueError {
  return new NuxtQueueError('NQ_VALIDATION', `The delivery ${deliveryId} can't be handled again: ${reason}.`)
}

function missingSecret({ secretRef }: surface.WebhookAuth): string {
  return secretRef === undefined
    ? 'endpoint.auth needs a secret, or a secretRef that names it'
    : `endpoint.auth.secretRef names ${shown(secretRef)}, which this process can't resolve: set that environment variable, or let triggers.resolveSecret give it as a text`
}

function toObject(query: URLSearchParams): Record<string, string> {
  return Object.fromEntries(query)
}

async function isVerified({ verify }: TriggerCode, request: surface.WebhookRequest): Promise<boolean> {
  try {
    return (await verify?.(request)) === true
  } catch {
    return false
  }
}

/** Slack asks a new endpoint to prove itself: https://docs.slack.dev/reference/events/url_verification. */
function slackChallenge({ definition }: KnownTrigger, payload: unknown): string | undefined {
  if (definition.endpoint?.auth?.provider !== 'slack') return undefined
  const { type, challenge } = (payload ?? {}) as { type?: unknown; challenge?: unknown }
  return type === 'url_verification' && typeof challenge === 'string' ? challenge : undefined
}
