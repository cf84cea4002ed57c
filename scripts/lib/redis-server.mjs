/**
 * A real redis-server for one test: on a free port, in a folder of its own, its output in a file there.
 *
 * It never shares a pipe with its starter (an inherited pipe keeps a test runner waiting), and ends with the process
 * that started it.
 */

import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_MS = 20_000
const STOP_MS = 10_000

/**
 * @typedef {object} RedisOptions
 * @property {'always' | 'everysec' | 'no'} [appendfsync] writes an append-only file, synced this way: what it acknowledged survives `kill()`. Without it nothing does
 * @property {string} [password]
 * @property {string[]} [args] any further arguments of redis-server, e.g. `['--maxmemory', '2mb']`
 */

export class RedisServer {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child
  #options
  #dir = mkdtempSync(join(tmpdir(), 'nuxt-queue-redis-'))
  #endWithProcess = () => {
    this.#child?.kill('SIGKILL')
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** The same over all restarts. */
  port = 0

  /** @param {RedisOptions} options */
  constructor(options) {
    this.#options = options
    process.on('exit', this.#endWithProcess)
  }

  /**
   * Starts a server and waits until it answers.
   * @param {RedisOptions} [options]
   */
  static async start(options = {}) {
    const server = new RedisServer(options)
    await server.#launchOnFreePort()
    return server
  }

  /** `redis://127.0.0.1:port`, with the password if there is one. */
  get url() {
    const { password } = this.#options
    const login = password ? `:${encodeURIComponent(password)}@` : ''
    return `redis://${login}127.0.0.1:${this.port}`
  }

  /** What the server has written to its log. */
  get log() {
    return readFileSync(this.#logFile, 'utf8')
  }

  /** The process of the running server. */
  get pid() {
    if (this.#child?.pid === undefined) throw new Error('this redis-server is not running')
    return this.#child.pid
  }

  /** Ends the server as its owner would and removes its folder. Harmless when it is stopped already. */
  async stop() {
    this.resume()
    await this.#end('SIGTERM')
    process.off('exit', this.#endWithProcess)
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** The power cut: SIGKILL. Its folder stays, for `restart()`. */
  async kill() {
    await this.#end('SIGKILL')
  }

  /** Starts it again on the same port with the same files; a running one is killed before. */
  async restart() {
    await this.kill()
    await this.#launch()
  }

  /** Freezes the process (SIGSTOP): connections stay open and nobody answers. */
  pause() {
    this.#child?.kill('SIGSTOP')
  }

  /** Goes on after `pause()`. */
  resume() {
    this.#child?.kill('SIGCONT')
  }

  async #launchOnFreePort() {
    for (let attempt = 1; ; attempt++) {
      this.port = await freePort()
      try {
        return await this.#launch()
      } catch (error) {
        // Between our look and the server's start somebody else may have taken the port.
        if (attempt === 3 || !this.log.includes('in use')) throw error
      }
    }
  }

  async #launch() {
    const log = openSync(this.#logFile, 'a')
    const child = spawn('redis-server', this.#arguments(), { cwd: this.#dir, stdio: ['ignore', log, log] })
    closeSync(log)
    this.#child = child
    /** @type {string | undefined} */
    let ended
    child.once('error', (error) => {
      ended = error.message
    })
    child.once('exit', (code, signal) => {
      ended = `it ended with ${code ?? signal}`
    })
    const deadline = Date.now() + START_MS
    while (!(await this.#answers())) {
      if (ended === undefined && Date.now() > deadline) ended = `no answer after ${START_MS} ms`
      if (ended !== undefined) throw new Error(`redis-server did not start: ${ended}\n${this.log}`)
      await sleep(20)
    }
  }

  #arguments() {
    const { appendfsync, password, args = [] } = this.#options
    return [
      ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#dir, '--save', ''],
      ...(appendfsync ? ['--appendonly', 'yes', '--appendfsync', appendfsync] : ['--appendonly', 'no']),
      ...(password ? ['--requirepass', password] : []),
      ...args,
    ]
  }

  /** Whether a PING gets an answer that isn't "still loading". */
  #answers() {
    const { port } = this
    return new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'))
      const finish = (/** @type {boolean} */ answer) => {
        socket.destroy()
        resolve(answer)
      }
      socket.setTimeout(1000, () => finish(false))
      socket.once('error', () => finish(false))
      socket.once('data', (data) => finish(/^\+PONG|^-NOAUTH/.test(String(data))))
    })
  }

  /** @param {'SIGTERM' | 'SIGKILL'} signal */
  async #end(signal) {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    const patience = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await gone.finally(() => clearTimeout(patience))
  }

  get #logFile() {
    return join(this.#dir, 'redis.log')
  }
}

/**
 * A port nobody listens on at the moment.
 * @returns {Promise<number>}
 */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
