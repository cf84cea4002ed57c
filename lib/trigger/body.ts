/**
 * What the body of a request says: JSON, a form, or text.
 */

/** The payload, or why there is none. */
export type Body = { value: unknown } | { problem: 'unsupported' | 'malformed' }

/** Reads a body by its content type. */
export function readBody(body: Uint8Array, contentType: string | undefined): Body {
  const type = /^\s*([^;\s]+)/.exec(contentType ?? '')?.[1]?.toLowerCase()
  if (type === undefined) return body.byteLength === 0 ? { value: undefined } : { problem: 'unsupported' }
  if (/^application\/([\w.+-]+\+)?json$/.test(type)) return readJson(body)
  if (type !== 'application/x-www-form-urlencoded' && !type.startsWith('text/')) return { problem: 'unsupported' }
  const text = toText(body)
  if (text === undefined) return { problem: 'malformed' }
  return { value: type.startsWith('text/') ? text : fieldsOf(new URLSearchParams(text)) }
}

/** Fields by name; one that comes several times is an array. */
export function fieldsOf(fields: URLSearchParams): Record<string, string | string[]> {
  const found = new Map<string, string | string[]>()
  for (const [name, value] of fields) {
    const before = found.get(name)
    if (Array.isArray(before)) before.push(value)
    else found.set(name, before === undefined ? value : [before, value])
  }
  // No assignment: a field may have any name.
  return Object.fromEntries(found)
}

function readJson(body: Uint8Array): Body {
  const text = toText(body)
  if (text === undefined) return { problem: 'malformed' }
  try {
    return { value: JSON.parse(text) }
  } catch {
    return { problem: 'malformed' }
  }
}

function toText(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    return undefined
  }
}
