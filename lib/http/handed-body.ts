/**
 * Bodies that a platform has read before and hands over, in one of many forms.
 */

import { type Body, bounded, chunksOf, collect, toBytes } from './body.js'

/**
 * The body in what a platform hands over: bytes, text, a stream, or a promise of one of them.
 *
 * @param encoding Of text.
 * @returns `undefined` if it is something else, such as what a body parser made of the body.
 */
export async function readHanded(handed: unknown, most: number, encoding: BufferEncoding): Promise<Body | undefined> {
  const value = await Promise.resolve(handed).catch(() => undefined)
  const bytes = toBytes(value, encoding)
  if (bytes !== undefined) return bounded(bytes, most)
  if (typeof value !== 'object' || value === null) return undefined
  // What a parser made of a body may have any member, but no function.
  if (typeof member(value, 'getReader') === 'function') return await readStream(chunksOf(value as ReadableStream), most)
  if (Symbol.asyncIterator in value) {
    return await readStream((value as AsyncIterable<unknown>)[Symbol.asyncIterator](), most)
  }
  return undefined
}

/** Reads a member that may be a getter which throws: some platforms parse the body there. */
export function member(owner: object, name: string | symbol): unknown {
  try {
    return Reflect.get(owner, name)
  } catch {
    return undefined
  }
}

/** Whether this is something that was made of a body. Parsers leave `{}` where there was none. */
export function isParsed(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.getPrototypeOf(value) !== Object.prototype || Object.keys(value).length > 0
}

async function readStream(chunks: ReturnType<typeof chunksOf>, most: number): Promise<Body> {
  if (chunks === undefined) return { refused: 'gone' }
  try {
    const body = await collect(chunks, most)
    // There is no connection of ours to be closed.
    return 'refused' in body && body.refused === 'too large' ? { refused: 'too large' } : body
  } catch {
    return { refused: 'aborted' }
  }
}
