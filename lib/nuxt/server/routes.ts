/**
 * Routes to look at runs, triggers and instances, and to act on them. Closed, unless the app lets somebody in.
 */

import type { QueueCore } from '../../../index.js'
import { NuxtQueueError } from '../../errors.js'
import { readH3Body } from '../../http/h3-body.js'
import { describeH3, type H3Event, toH3Event } from '../../http/h3-event.js'
import { warn } from '../../warn.js'
import type { QueueRuntime } from './runtime.js'
import { streamEvents } from './sse.js'

const MOST_BYTES = 1 << 20
const ROUTE = /\/api\/_(flows|registry|triggers)(?=\/|$)(.*)/

interface Call {
  core: QueueCore
  event: H3Event
  /** What the path names, decoded. */
  names: string[]
  query: URLSearchParams
  /** The body as JSON. */
  body: unknown
}

type Action = (call: Call) => unknown

/** Method and path; `*` stands for a name. What reads comes with GET. */
const ACTIONS: Record<string, Action> = {
  'GET registry': async ({ core: { registry } }) => ({
    instanceId: registry.instanceId,
    instances: await registry.listInstances(),
    workers: await registry.listWorkers(),
  }),
  'GET flows/*/runs': ({ core, names: [flow], query }) =>
    core.flows.runs(flow as string, { limit: numberOf(query, 'limit') ?? 50, offset: numberOf(query, 'offset') ?? 0 }),
  'POST flows/*/runs': ({ core, names: [flow], body }) => core.flows.start(flow as string, body),
  'GET flows/runs/*': async ({ core, names: [runId] }) => found(await core.flows.status(runId as string), runId),
  'GET flows/runs/*/timeline': ({ core, names: [runId] }) => core.flows.timeline(runId as string),
  'GET flows/runs/*/explain': async ({ core, names: [runId] }) => ({ text: await core.flows.explain(runId as string) }),
  'GET flows/runs/*/state': ({ core, names: [runId], query }) => {
    const state = core.store.state(runId as string)
    const at = query.get('at')
    return at === null ? state.getAll() : state.at(at)
  },
  'GET flows/runs/*/awaits': ({ core, names: [runId] }) => core.triggers.awaits(runId as string),
  'POST flows/runs/*/awaits/*': async ({ core, names: [runId, awaitId], body }) => ({
    resolved: await core.triggers.resolveAwait(runId as string, awaitId as string, body),
  }),
  'POST flows/runs/*/emit/*': async ({ core, names: [runId, name], body }) => {
    await core.flows.emit(runId as string, name as string, body)
    return { emitted: true }
  },
  'POST flows/runs/*/cancel': async ({ core, names: [runId], body }) => {
    const { reason } = (body ?? {}) as { reason?: string }
    return { canceled: await core.flows.cancel(runId as string, reason) }
  },
  'GET triggers': ({ core }) => core.triggers.list(),
  'GET triggers/*': ({ core, names: [name] }) => found(core.triggers.get(name as string), name),
  'GET triggers/*/firings': ({ core, names: [name], query }) =>
    core.triggers.runs(name as string, { limit: numberOf(query, 'limit') ?? 50 }),
  'POST triggers/*/fire': ({ core, names: [name], body }) => core.triggers.execute(name as never, body as never),
  'POST triggers/*/enable': async ({ core, names: [name] }) => {
    await core.triggers.enable(name as string)
    return { enabled: true }
  },
  'POST triggers/*/disable': async ({ core, names: [name] }) => {
    await core.triggers.disable(name as string)
    return { enabled: false }
  },
}

const STATUSES: Partial<Record<string, number>> = {
  ...{
    NQ_VALIDATION: 400,
    NQ_INVALID_EVENT: 400,
    NQ_CONFIG: 400,
    NQ_NOT_FOUND: 404,
    NQ_CONFLICT: 409,
    NQ_TOO_LARGE: 413,
  },
  ...{ NQ_UNAVAILABLE: 503, NQ_TIMEOUT: 503, NQ_CLOSED: 503 },
}

/** Answers a request to one of these routes; `undefined`: it is for somebody else. */
export async function answerApi(given: object, runtime: QueueRuntime): Promise<Response | undefined> {
  const event = toH3Event(given)
  const { method, path } = describeH3(event)
  const [pathname = '', search = ''] = path.split('?', 2)
  const [, area, rest = ''] = ROUTE.exec(pathname) ?? []
  // The URLs of awaits carry what lets in.
  if (area === undefined || (area === 'triggers' && rest.startsWith('/await/'))) return undefined
  try {
    return await answer(event, runtime, {
      method,
      segments: [area, ...split(rest)],
      query: new URLSearchParams(search),
    })
  } catch (error) {
    return refuse(error)
  }
}

interface Asked {
  method: string
  segments: string[]
  query: URLSearchParams
}

async function answer(event: H3Event, runtime: QueueRuntime, { method, segments, query }: Asked): Promise<Response> {
  const isRead = method === 'GET' || method === 'HEAD'
  if (!(await isAllowed(event, runtime, `${segments[0]}.${isRead ? 'read' : 'write'}`))) {
    const hint = 'Nobody is let in but by the hook "queue:authorize" of a Nitro plugin, which sets allowed.'
    return json(403, { error: 'forbidden', ...(runtime.isDev && { hint }) })
  }
  const isLive = segments.length === 4 && segments[0] === 'flows' && segments[1] === 'runs' && segments[3] === 'events'
  if (isRead && isLive) return streamEvents(runtime.core.store, runtime.streamOf(segments[2] as string), event, query)
  const match = find(isRead ? 'GET' : method, segments)
  if (match === undefined) return json(404, { error: 'not found' })
  const body = isRead ? undefined : await readBody(event)
  return json(200, (await match.action({ core: runtime.core, event, names: match.names, query, body })) ?? null)
}

/** Whether the app lets this request in. In a server for developers everybody is. */
async function isAllowed({ event }: H3Event, { app, isDev }: QueueRuntime, action: string): Promise<boolean> {
  const access = { action, allowed: isDev }
  await app.hooks.callHook('queue:authorize', event, access)
  return access.allowed === true
}

function find(method: string, segments: string[]): { action: Action; names: string[] } | undefined {
  for (const [pattern, action] of Object.entries(ACTIONS)) {
    const [of, path = ''] = pattern.split(' ')
    const parts = path.split('/')
    if (of !== method || parts.length !== segments.length) continue
    if (parts.every((part, n) => part === '*' || part === segments[n])) {
      return { action, names: segments.filter((_, n) => parts[n] === '*') }
    }
  }
  return undefined
}

/** A page of somebody else can't send this without being asked first whether it may. */
async function readBody(event: H3Event): Promise<unknown> {
  const { headers } = describeH3(event)
  const type = Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1]
  if (!/^application\/json\b/i.test(String(type ?? ''))) {
    throw new NuxtQueueError('NQ_VALIDATION', 'Send content-type: application/json.')
  }
  const body = await readH3Body(event, MOST_BYTES)
  if ('refused' in body) throw new NuxtQueueError('NQ_TOO_LARGE', `The body could not be read: ${body.refused}.`)
  if (body.bytes.byteLength === 0) return undefined
  try {
    return JSON.parse(new TextDecoder().decode(body.bytes))
  } catch {
    throw new NuxtQueueError('NQ_VALIDATION', 'The body is not JSON.')
  }
}

function split(rest: string): string[] {
  try {
    return rest.split('/').filter(Boolean).map(decodeURIComponent)
  } catch {
    throw new NuxtQueueError('NQ_VALIDATION', 'The path is no valid URL.')
  }
}

function numberOf(query: URLSearchParams, name: string): number | undefined {
  const given = query.get(name)
  return given === null ? undefined : Number(given)
}

function found<T>(value: T | undefined, name: string | undefined): T {
  if (value === undefined) throw new NuxtQueueError('NQ_NOT_FOUND', `There is no ${JSON.stringify(name)}.`)
  return value
}

function refuse(error: unknown): Response {
  const status = error instanceof NuxtQueueError ? STATUSES[error.code] : undefined
  if (status !== undefined)
    return json(status, { error: (error as Error).message, code: (error as NuxtQueueError).code })
  warn('A request could not be answered', error, 'NQ_ROUTE')
  return json(500, { error: 'internal error' })
}

function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })
}
