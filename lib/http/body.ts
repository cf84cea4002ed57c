/**
 * Reads the body of a request as bytes, up to a bound.
 */

/** What reading gave: the bytes, or why there are none. */
export type Body =
  | { bytes: Uint8Array }
  /** Somebody else has read them, and kept something that they can't be made of again. */
  | { refused: 'gone' }
  /** The sender left in the middle. */
  | { refused: 'aborted' }
  /** There are more than are read; `rest` is the others, if they come over a connection that has to be closed. */
  | { refused: 'too large'; rest?: Chunks }

/** What comes of a body, piece by piece. */
export interface Chunks {
  next(): Promise<{ done?: boolean | undefined; value?: unknown }>
}

const FIRST_BYTES = 1 << 14

/**
 * Reads to the end, or until there are more than `most` bytes. Never holds more than these, whatever the sizes of the
 * pieces.
 *
 * @param encoding Of pieces that are text.
 * @throws What the source throws.
 */
export async function collect(chunks: Chunks, most: number, encoding: BufferEncoding = 'utf8'): Promise<Body> {
  let kept = new Uint8Array(0)
  let length = 0
  for (;;) {
    const { done, value } = await chunks.next()
    if (done) return { bytes: kept.subarray(0, length) }
    const piece = toBytes(value, encoding)
    if (piece === undefined) return { refused: 'gone' }
    const end = length + piece.byteLength
    if (end > most) return { refused: 'too large', rest: chunks }
    // Pieces are copied: tiny ones weigh far more than the bytes in them, or are views of something large.
    if (end > kept.byteLength) kept = grown(kept, Math.min(Math.max(2 * end, FIRST_BYTES), most))
    kept.set(piece, length)
    length = end
  }
}

/** The bytes of a platform's value, or `undefined` if it holds none. */
export function toBytes(value: unknown, encoding: BufferEncoding): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  if (typeof value === 'string') return Buffer.from(value, encoding)
  return undefined
}

/** Bytes that are all there already, if they are not too many. */
export function bounded(bytes: Uint8Array, most: number): Body {
  return bytes.byteLength > most ? { refused: 'too large' } : { bytes }
}

/** The pieces of a stream of the web, which stays as it is if they are not all taken; `undefined` if others read it. */
export function chunksOf(stream: ReadableStream): Chunks | undefined {
  if (stream.locked) return undefined
  const reader = stream.getReader()
  return { next: () => reader.read() }
}

function grown(kept: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(size)
  larger.set(kept)
  return larger
}
