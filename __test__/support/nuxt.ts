/** Nuxt apps: built, started on free ports, and stopped. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { nuxtApp } from '../../scripts/lib/nuxt-app.mjs'
import { root } from '../../scripts/lib/paths.mjs'
import { Project } from './project.js'

const MODULES = join(nuxtApp, 'node_modules')
const EXAMPLE = join(root, 'examples/nuxt')

/** What an app has of its own. */
const SOURCES = ['app', 'server', 'nuxt.config.ts']

/** An app without the toolchains that build this package. */
export const environment = {
  PATH: (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !/cargo|rustup/.test(folder))
    .join(delimiter),
  NUXT_TELEMETRY_DISABLED: '1',
}

/** Installs the packed packages into the modules of all apps. */
export function installPackages(tarballs: string[]): void {
  const project = new Project(nuxtApp)
  const npm = ['install', '--no-save', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs]
  const ended = project.run('npm', npm)
  if (ended.code !== 0) throw new Error(`npm install failed:\n${ended.stdout}${ended.stderr}`)
}

/** Copies the example. `linked`: the package is not installed, but a link to this repository. */
export function createApp(dir: string, { linked = false } = {}): Project {
  mkdirSync(dir, { recursive: true })
  for (const name of SOURCES) cpSync(join(EXAMPLE, name), join(dir, name), { recursive: true })
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }))
  if (linked) linkModules(join(dir, 'node_modules'))
  else symlinkSync(MODULES, join(dir, 'node_modules'))
  return new Project(dir)
}

function linkModules(dir: string): void {
  mkdirSync(dir)
  for (const name of readdirSync(MODULES)) {
    if (!name.startsWith('nuxt-queue-core')) symlinkSync(join(MODULES, name), join(dir, name))
  }
  symlinkSync(root, join(dir, 'nuxt-queue-core'))
}

/** Builds an app, and moves what was built to a clean path. */
export async function build(app: Project, to: string): Promise<void> {
  const child = spawn(process.execPath, [join(MODULES, 'nuxt/bin/nuxt.mjs'), 'build'], {
    cwd: app.dir,
    env: { ...environment, HOME: process.env.HOME },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the build failed:\n${output}`)
  cpSync(join(app.dir, '.output'), to, { recursive: true })
  rmSync(join(app.dir, '.output'), { recursive: true })
}

/** A server that runs. */
export class Server {
  readonly url: string
  readonly process: ChildProcess
  output = ''

  private constructor(command: string[], cwd: string, port: number, env: NodeJS.ProcessEnv) {
    this.url = `http://127.0.0.1:${port}`
    this.process = spawn(process.execPath, command, {
      cwd,
      env: { ...environment, HOME: process.env.HOME, ...env, PORT: String(port), HOST: '127.0.0.1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        this.output += text
      })
    }
  }

  /** Starts what was built, and waits until it answers. */
  static async start(output: string, env: NodeJS.ProcessEnv = {}): Promise<Server> {
    const server = new Server([join(output, 'server/index.mjs')], output, await freePort(), env)
    await server.answers()
    return server
  }

  /** Starts a server for developers. */
  static async develop(app: Project): Promise<Server> {
    const port = await freePort()
    const command = [
      join(MODULES, 'nuxt/bin/nuxt.mjs'),
      'dev',
      '--port',
      String(port),
      '--host',
      '127.0.0.1',
      '--no-fork',
    ]
    const server = new Server(command, app.dir, port, {})
    await server.answers(60_000)
    return server
  }

  /** Waits until it answers at all. */
  async answers(timeoutMs = 20_000): Promise<void> {
    const until = Date.now() + timeoutMs
    while (Date.now() < until) {
      if (this.hasEnded) throw new Error(`the server has ended:\n${this.output}`)
      try {
        if ((await fetch(`${this.url}/api/_registry`)).status < 500) return
      } catch {
        // Not yet.
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`the server does not answer:\n${this.output}`)
  }

  /** Asks as somebody whom the example lets in. `body`: sent with POST. */
  async ask<T>(path: string, body?: unknown): Promise<T> {
    const post = { method: 'POST', body: JSON.stringify(body) }
    const headers = { cookie: 'role=manager', 'content-type': 'application/json' }
    const response = await fetch(this.url + path, { headers, ...(body !== undefined && post) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path} was answered with ${response.status}: ${text}`)
    return JSON.parse(text)
  }

  /** Whether it has ended, or was ended by a signal. */
  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  /** Ends it as an operator does; gives its exit code. */
  async stop(): Promise<number | null> {
    if (this.hasEnded) return this.process.exitCode
    const ended = once(this.process, 'exit')
    this.process.kill('SIGTERM')
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 15_000)
    const [code] = await ended
    clearTimeout(timer)
    return code
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
