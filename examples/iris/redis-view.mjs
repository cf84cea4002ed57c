// @ts-check
import { KEY_WIDTH, keyLine } from './report.mjs'
import { heading, line } from './terminal.mjs'

/**
 * @typedef {import('ioredis').Redis} Redis
 * @typedef {import('./terminal.mjs').Terminal} Terminal
 * @typedef {[id: string, fields: string[]]} Entry
 */

/**
 * The run's stream as Redis itself holds it, read by a client that knows nothing of this package.
 *
 * @param {Terminal} terminal
 * @param {string} url
 * @param {string} stream
 * @param {string[]} ids the entries to show in full
 * @returns {Promise<string[]>} lines; a single one saying so where `ioredis` is not installed
 * @throws {Error} if Redis can't be reached or refuses
 */
export async function redisLines(terminal, url, stream, ids) {
  const Redis = await loadClient()
  if (!Redis)
    return [line(terminal, [{ text: 'The raw stream is read with ioredis, missing here: npm install ioredis' }])]
  const redis = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => null })
  // Without a listener ioredis prints the failure; the rejected command already tells it.
  redis.on('error', () => {})
  try {
    await redis.connect()
    const entries = await Promise.all(ids.map((id) => redis.xrange(stream, id, id)))
    return [
      ...infoLines(terminal, stream, /** @type {unknown[]} */ (await redis.xinfo('STREAM', stream))),
      ...entries.flat().flatMap((entry) => entryLines(terminal, stream, entry)),
      '',
      line(terminal, [{ text: 'The stream stays. Look at it, or delete it, with' }]),
      // Never cut: these lines are there to be copied.
      ...['XRANGE', 'DEL'].map((command) => `  ${terminal.paint(cliCommand(url, command, stream), 'cyan')}`),
    ]
  } finally {
    redis.disconnect()
  }
}

/** @returns {Promise<typeof import('ioredis').Redis | undefined>} */
async function loadClient() {
  try {
    return (await import('ioredis')).Redis
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}

/**
 * @param {Terminal} terminal
 * @param {string} stream
 * @param {unknown[]} reply names and values in turn
 */
function infoLines(terminal, stream, reply) {
  /** @type {Map<unknown, unknown>} */
  const info = new Map()
  for (let index = 0; index < reply.length; index += 2) info.set(reply[index], reply[index + 1])
  const entry = (/** @type {string} */ name) => {
    const [id, fields] = /** @type {Entry} */ (info.get(name))
    return `${id}  ${fields[fields.indexOf('type') + 1]}`
  }
  return [
    heading(terminal, 'Redis', `XINFO STREAM ${stream}`),
    keyLine(terminal, 'length', String(info.get('length'))),
    keyLine(terminal, 'last id', String(info.get('last-generated-id'))),
    keyLine(terminal, 'first', entry('first-entry')),
    keyLine(terminal, 'last', entry('last-entry')),
  ]
}

/**
 * @param {Terminal} terminal
 * @param {string} stream
 * @param {Entry} entry
 */
function entryLines(terminal, stream, [id, fields]) {
  const lines = ['', line(terminal, [{ text: `XRANGE ${stream} ${id} ${id}`, style: ['dim'] }])]
  for (let index = 0; index < fields.length; index += 2) {
    const rows = chunks(JSON.stringify(fields[index + 1]), terminal.width - KEY_WIDTH - 4)
    lines.push(...rows.map((row, number) => keyLine(terminal, number === 0 ? fields[index] : '', row)))
  }
  return lines
}

/**
 * @param {string} text
 * @param {number} width
 */
function chunks(text, width) {
  return Array.from({ length: Math.ceil(text.length / width) }, (_, row) => text.slice(row * width, (row + 1) * width))
}

/**
 * A redis-cli command that reaches the same server. A password is asked for, never shown.
 *
 * @param {string} url
 * @param {string} command
 * @param {string} stream
 */
function cliCommand(url, command, stream) {
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  const database = pathname.slice(1)
  const parts = [
    `redis-cli -h ${hostname || '127.0.0.1'} -p ${port || 6379}`,
    protocol === 'rediss:' ? '--tls' : '',
    username ? `--user ${decodeURIComponent(username)}` : '',
    password ? '--askpass' : '',
    database && database !== '0' ? `-n ${database}` : '',
    command === 'XRANGE' ? `XRANGE ${stream} - +` : `${command} ${stream}`,
  ]
  return parts.filter(Boolean).join(' ')
}
