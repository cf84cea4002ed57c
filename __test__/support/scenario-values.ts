/**
 * The values of conformance scenarios: what stands in a step becomes arguments (`resolve`), and
 * what a call gave back is held against what a step expects (`mismatch`).
 * The format is described in tests/conformance/README.md.
 */

/** What a play knows by name: `{s}` and its like, and the results that steps were given a name for. */
export interface Names {
  /** Texts for `{name}` within strings; a string that is nothing but `{i}` becomes the number. */
  texts: Record<string, string | number>
  /** Results of earlier steps, for `$name.path`. */
  results: Map<string, unknown>
}

type Members = Record<string, unknown>

const REFERENCE = /^\$([a-z][A-Za-z0-9]*)((?:\.[^.]+)*)$/
const ID = /^\d+-\d+$/
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Operators that make a value. Each takes the operator's (resolved) argument and the members beside it. */
const makers: Record<string, (argument: never, beside: Members) => unknown> = {
  $repeat: ([text, count]: [string, number]) => text.repeat(count),
  $pad: ([start, filler, bytes]: [string, string, number]) =>
    start + filler.repeat((bytes - Buffer.byteLength(start)) / Buffer.byteLength(filler)),
  $nest: (depth: number) => nest(depth),
  $range: ([first, last]: [number, number]) => range(first, last),
  $ms: (point: string | number, { plus = 0 }) => milliseconds(point) + Number(plus),
  $iso: (point: string | number, { plus = 0 }) => new Date(milliseconds(point) + Number(plus)).toISOString(),
  $date: (point: string | number, { plus = 0 }) => new Date(milliseconds(point) + Number(plus)),
  $timeline: (events: Array<Members & { at: number }>) => events.map(({ at, ...event }) => recordAt(at, event)),
}

/** Operators that stand for many values in an expectation. */
const matchers: Record<string, (argument: unknown, actual: unknown) => boolean> = {
  $not: (argument, actual) => mismatch(argument, actual, 'exact') !== undefined,
  $after: (argument, actual) => compareIds(String(actual), String(argument)) > 0,
}

/** Words that stand for many values in an expectation. */
const words: Record<string, (actual: unknown) => boolean> = {
  '<any>': (actual) => actual !== undefined,
  '<missing>': (actual) => actual === undefined,
  '<id>': (actual) => typeof actual === 'string' && ID.test(actual),
  '<timestamp>': (actual) => typeof actual === 'string' && TIMESTAMP.test(actual),
}

/** Replaces names, references and generating operators in a value of a scenario. */
export function resolve(value: unknown, names: Names): unknown {
  if (typeof value === 'string') return resolveText(value, names)
  if (Array.isArray(value)) return value.map((item) => resolve(item, names))
  if (typeof value !== 'object' || value === null) return value
  const { $times, ...beside } = value as Members
  if (Array.isArray($times)) return times($times as [number, unknown], names)
  const members = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolve(member, names)]))
  const operator = Object.keys(members).find((key) => Object.hasOwn(makers, key))
  return operator ? makers[operator](members[operator] as never, beside) : members
}

function resolveText(text: string, names: Names): unknown {
  if (text.startsWith('$$')) return text.slice(1)
  const reference = REFERENCE.exec(text)
  if (reference) return follow(reference[1], reference[2], names)
  if (text === '{i}') return names.texts.i
  return text.replace(/\{([a-z]+)\}/g, (whole, name: string) => String(names.texts[name] ?? whole))
}

function follow(name: string, path: string, names: Names): unknown {
  if (!names.results.has(name)) throw new Error(`No step before this one has the name "${name}"`)
  return at(names.results.get(name), path.slice(1))
}

function times([count, template]: [number, unknown], names: Names): unknown[] {
  return range(0, count - 1).map((i) => resolve(template, { ...names, texts: { ...names.texts, i } }))
}

/** The member of `value` at a path such as `data.steps.0`; `undefined` if there is none. */
export function at(value: unknown, path: string): unknown {
  if (path === '') return value
  return path.split('.').reduce((inner, key) => own(inner, key), value)
}

function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? Object.getOwnPropertyDescriptor(value, key)?.value
    : undefined
}

/**
 * Says where `actual` is not what was expected; `undefined` if it is.
 * `exact`: objects have the same members. `like`: members that aren't mentioned don't matter.
 */
export function mismatch(expected: unknown, actual: unknown, mode: 'exact' | 'like', path = ''): string | undefined {
  if (typeof expected === 'string' && Object.hasOwn(words, expected)) {
    return words[expected](actual) ? undefined : wrong(path, expected, actual)
  }
  if (Array.isArray(expected)) return arrayMismatch(expected, actual, mode, path)
  if (typeof expected === 'object' && expected !== null) return objectMismatch(expected, actual, mode, path)
  return Object.is(expected, actual) ? undefined : wrong(path, expected, actual)
}

function arrayMismatch(expected: unknown[], actual: unknown, mode: 'exact' | 'like', path: string) {
  if (!Array.isArray(actual)) return wrong(path, expected, actual)
  if (actual.length !== expected.length) return wrong(`${path}.length`, expected.length, actual.length)
  return firstOf(expected, (item, index) => mismatch(item, actual[index], mode, `${path}[${index}]`))
}

function objectMismatch(expected: object, actual: unknown, mode: 'exact' | 'like', path: string) {
  const keys = Object.keys(expected)
  if (keys.length === 1 && Object.hasOwn(matchers, keys[0])) {
    return matchers[keys[0]](own(expected, keys[0]), actual) ? undefined : wrong(path, expected, actual)
  }
  if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return wrong(path, expected, actual)
  const surplus = mode === 'exact' ? Object.keys(actual).filter((key) => !Object.hasOwn(expected, key)) : []
  return firstOf([...keys, ...surplus], (key) => mismatch(own(expected, key), own(actual, key), mode, `${path}.${key}`))
}

function firstOf<T>(items: T[], check: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = check(item, index)
    if (found) return found
  }
  return undefined
}

function wrong(path: string, expected: unknown, actual: unknown): string {
  return `at result${path}: expected ${show(expected)}, got ${show(actual)}`
}

/** A short text of any value, for messages. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 400 ? `${text.slice(0, 400)}…` : text
}

/** Orders two event ids. */
export function compareIds(a: string, b: string): number {
  const [left, right] = [a, b].map((id) => id.split('-').map(BigInt))
  const [first, second] = left[0] === right[0] ? [left[1], right[1]] : [left[0], right[0]]
  return first < second ? -1 : Number(first > second)
}

function milliseconds(point: string | number): number {
  if (typeof point === 'number') return point
  return ID.test(point) ? Number(point.split('-')[0]) : Date.parse(point)
}

/** A record of run `r1`, flow `train`, so many seconds after the beginning of 2025. */
function recordAt(seconds: number, event: Members): Members {
  const ms = Date.UTC(2025, 0) + seconds * 1000
  return {
    id: `${ms}-0`,
    stream: 'nq:flow:r1',
    timestamp: new Date(ms).toISOString(),
    runId: 'r1',
    flowName: 'train',
    ...event,
  }
}

function nest(depth: number): unknown {
  return range(2, depth).reduce<unknown[]>((inner) => [inner], [])
}

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)
}
