/** A span that has ended. Instants in milliseconds since the Unix epoch. */
export interface Span {
  name: string
  kind: string
  traceId: string
  spanId: string
  parent?: string
  status: string
  message?: string
  attributes: Record<string, unknown>
  from: number
  to: number
  /** The ids of the spans that it is linked to. */
  links: string[]
  events: Array<{ name: string; attributes?: Record<string, unknown> }>
}

export interface Sdk {
  spans(): Span[]
  forget(): void
  values(name: string): Promise<Array<{ value: unknown; attributes: Record<string, unknown>; unit: string }>>
}

export function registerSdk(): Sdk
