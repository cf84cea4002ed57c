/**
 * What an app uses on the server. All of it is of the one core that the server has.
 */

import type * as surface from '../../../index.js'
import type { BusEvent, QueueHandlerConfig } from '../../../nuxt-server.js'
import { NuxtQueueError } from '../../errors.js'
import { toH3Handler } from '../../http/h3-handler.js'
import { checkName, checkObject, invalid } from '../../query.js'
import { warn } from '../../warn.js'
import type { HandlerModule } from './handlers.js'
import { answerApi } from './routes.js'
import { type NitroApp, QueueRuntime, type ServerOptions } from './runtime.js'

type Listener = (event: surface.EventRecord) => unknown

let runtime: QueueRuntime | undefined

/** Opens the core of a server; called by the plugin that the module makes. */
export function startQueue(
  app: NitroApp,
  config: Record<string, unknown>,
  handlers: readonly HandlerModule[],
  options: ServerOptions,
): void {
  const started = new QueueRuntime(app, config, handlers, options)
  runtime = started
  app.hooks.hook('request', () => started.tried)
  app.hooks.hook('close', () => started.close())
}

function current(): QueueRuntime {
  if (runtime !== undefined) return runtime
  throw new NuxtQueueError(
    'NQ_CLOSED',
    'There is no queue here: it is opened with the server, by the module nuxt-queue-core/nuxt, and not while pages are rendered ahead.',
  )
}

export async function useQueueCore(): Promise<surface.QueueCore> {
  return await current().opened
}

export const useEventStore = () => current().core.store
export const useFlowEngine = () => current().core.flows
export const useTriggers = () => current().core.triggers
export const useRegistry = () => current().core.registry
export const useLogs = () => current().core.logs

export function registerTrigger(definition: surface.TriggerDefinition): Promise<void> {
  const registered = current().register(definition)
  // Who does not await it is told by the report.
  registered.catch(() => {})
  return registered
}

export async function emitTrigger(name: string, payload?: unknown, options?: surface.EmitTriggerOptions) {
  return await (await useQueueCore()).triggers.emit(name, payload, options as never)
}

export function useEventManager() {
  const queue = current()
  const { store } = queue.core
  const follow = (runId: string, handler: Listener) => {
    if (typeof handler !== 'function') throw invalid('handler', handler, 'a function')
    const subscribed = store.subscribe(queue.streamOf(runId), handler as never)
    subscribed.catch((error) => warn(`Events of ${runId} can not be followed`, error, 'NQ_SUBSCRIPTION'))
    return () => void subscribed.then((subscription) => subscription.unsubscribe()).catch(() => {})
  }
  return {
    query: store.query.bind(store),
    queryGlobal: store.queryGlobal.bind(store),
    publishBus: async (event: BusEvent) => {
      const { runId } = checkObject(event, 'event')
      return await store.append(queue.streamOf(runId), event as never)
    },
    onType: (type: string, handler: Listener) => {
      const isWanted = matcherOf(checkName(type, 'type'))
      return follow('*', (event) => (isWanted(event.type) ? handler(event) : undefined))
    },
    subscribeRunId: (runId: string, handler: Listener) => follow(runId, handler),
  }
}

/** Whether an event is of a type, or of one of its family for `log.*`. */
function matcherOf(pattern: string): (type: string) => boolean {
  if (pattern === '*') return () => true
  return pattern.endsWith('.*') ? (type) => type.startsWith(pattern.slice(0, -1)) : (type) => type === pattern
}

export function defineQueueWorker<H extends surface.StepHandler>(handler: H): H {
  return handler
}

export function defineQueueConfig<const C extends QueueHandlerConfig>(config: C): C {
  return config
}

const webhooks = toH3Handler({
  handleWebhook: async (request) => await (await useQueueCore()).triggers.handleWebhook(request),
})

/** Answers requests to all routes of the module. */
export const handleQueueRequest = Object.assign(
  async (event: object): Promise<Response> => (await answerApi(event, current())) ?? (await webhooks(event)),
  // What `defineEventHandler` of h3 1 adds: without it Nitro warns of a handler that is not wrapped.
  { __is_handler__: true as const },
)
