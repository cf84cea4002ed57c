/**
 * What is used of Nuxt and Nitro. Their own types would be needed by whoever compiles this, and they come in several versions.
 */

/** Nuxt, as it hands itself to a module. */
export interface Nuxt {
  options: {
    rootDir: string
    buildDir: string
    serverDir?: string
    dev: boolean
    /** Only the types are made. */
    _prepare?: boolean
    /** The app, and the layers that it extends. */
    _layers: Array<{ cwd: string; config: { rootDir?: string; srcDir?: string; serverDir?: string } }>
    runtimeConfig: Record<string, unknown>
    /** The config key. */
    queue?: unknown
  }
  hook(name: 'nitro:config', handler: (nitro: NitroConfig) => void | Promise<void>): void
  hook(name: 'nitro:init', handler: (nitro: Nitro) => void | Promise<void>): void
  /** For the types of the server's code. */
  hook(name: 'nitro:prepare:types', handler: (types: TypeReferences) => void | Promise<void>): void
  hook(name: 'close', handler: () => void | Promise<void>): void
}

export interface TypeReferences {
  references: Array<{ path: string }>
}

/** Nitro's config before it is read. */
export interface NitroConfig {
  virtual?: Record<string, string | (() => string | Promise<string>)>
  handlers?: Array<{ route: string; handler: string; lazy?: boolean }>
  imports?: false | { imports?: Array<{ name: string; from: string }> }
  externals?: { external?: unknown[]; traceInclude?: string[] }
  rollupConfig?: { plugins?: unknown[] }
}

export interface Nitro {
  options: { dev: boolean; plugins: string[]; output: { serverDir: string } }
  hooks: {
    hook(name: 'compiled', handler: () => void | Promise<void>): void
    callHook(name: 'rollup:reload'): Promise<void>
  }
}
