/** Projects in empty folders that install the packed packages, as a user's would. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** How a program ended. */
export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** One project: a folder with a package.json. */
export class Project {
  constructor(readonly dir: string) {}

  /** Makes the folder and installs tarballs into it, with no registry. */
  static create(dir: string, tarballs: string[], ...npmArgs: string[]): Project {
    mkdirSync(dir, { recursive: true })
    const project = new Project(dir)
    project.write('package.json', JSON.stringify({ name: 'consumer', private: true }))
    const ended = project.run('npm', ['install', '--offline', '--no-audit', '--no-fund', ...npmArgs, ...tarballs])
    if (ended.code !== 0) throw new Error(`npm install failed:\n${ended.stdout}${ended.stderr}`)
    return project
  }

  /** Writes a file and returns its path. */
  write(name: string, text: string): string {
    const file = join(this.dir, name)
    writeFileSync(file, text)
    return file
  }

  /** Runs a program written as text; `.mjs`, `.cjs` or `.js` by name. */
  runCode(name: string, code: string, env: NodeJS.ProcessEnv = {}): Ended {
    return this.run(process.execPath, [this.write(name, code)], env)
  }

  /** Runs a command in the folder, with an environment that knows nothing of this test run. */
  run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Ended {
    const clean = Object.entries(process.env).filter(([name]) => !/^(NODE_|VITEST|NAPI_RS|npm_)/.test(name))
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      cwd: this.dir,
      encoding: 'utf8',
      env: { ...Object.fromEntries(clean), ...env },
      shell: command === 'npm' && process.platform === 'win32',
      timeout: 60_000,
    })
    if (error) throw error
    return { code: status, stdout, stderr }
  }
}
