// Writes events with the least that a client can do: commands encoded beforehand, one write to the
// socket. It serves as the same fast writer for every reader, and shows what the server can take.

import { once } from 'node:events'
import { connect } from 'node:net'
import { toFields } from './baseline/record.mjs'

const LINE_FEED = 10
const MINUS = 45

/**
 * One XADD per event, in the original's layout, each followed by its announcement.
 *
 * @param {string} stream
 * @param {object[]} events
 * @returns {{ commands: Buffer, replyLines: number }}
 */
export function encodeAppends(stream, events) {
  const now = Date.now()
  const ts = new Date(now).toISOString()
  const commands = events.map((event, i) => {
    const id = `${now}-${i + 1}`
    const add = command(['XADD', stream, id, ...toFields(event, ts)])
    return add + command(['PUBLISH', `nq:events:${stream}`, id])
  })
  return { commands: Buffer.from(commands.join('')), replyLines: 3 * events.length }
}

export class RawWriter {
  #socket
  #missing = 0
  #done = () => {}
  #failed = () => {}

  /** @param {number} port of a Redis on 127.0.0.1 */
  static async open(port) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new RawWriter(socket)
  }

  /** @param {import('node:net').Socket} socket */
  constructor(socket) {
    this.#socket = socket
    socket.on('data', (chunk) => this.#count(chunk))
    socket.on('error', (error) => this.#failed(error))
  }

  /** Resolves when the server has answered every command. */
  write({ commands, replyLines }) {
    return new Promise((resolve, reject) => {
      this.#missing = replyLines
      this.#done = resolve
      this.#failed = reject
      this.#socket.write(commands)
    })
  }

  close() {
    this.#socket.end()
  }

  /** XADD answers with two lines, a length and the id, PUBLISH with one; a refusal begins with `-`. */
  #count(chunk) {
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, at + 1)) {
      this.#missing--
      if (chunk[at + 1] === MINUS) this.#failed(new Error(`Redis refused: ${chunk.subarray(at + 1)}`))
    }
    if (this.#missing === 0) this.#done()
  }
}

function command(words) {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}
