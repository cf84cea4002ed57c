#!/usr/bin/env node
import { main } from '../dist/cli/main.js'

// Asked once it ends in order, asked twice at once.
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort())
const { stdout, stderr, env } = process
process.exitCode = await main(process.argv.slice(2), { stdout, stderr, env, signal: interrupted.signal })
