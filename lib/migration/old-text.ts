/**
 * Values of state as the original's storage driver kept them: strings bare, everything else as JSON.
 */

const NUMBER = /^\s*-?\d{1,16}(\.\d{1,17})?(e[+-]?\d+)?\s*$/i
const JSON_BEGIN = /^\s*["[{]/

/** The text of a value. */
export function toOldText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** What the original reads in a text: a string that looks like something else is that. */
export function fromOldText(text: string): unknown {
  switch (text) {
    case 'null':
      return null
    case 'true':
      return true
    case 'false':
      return false
  }
  if (NUMBER.test(text)) return Number(text)
  if (!JSON_BEGIN.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
