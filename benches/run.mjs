// Runs the benchmarks against a redis-server of their own and prints one table. See `--help`.

import { allBenchmarks } from './cases/index.mjs'
import { measure } from './engine.mjs'
import { describeMachine } from './machine.mjs'
import { readOptions, USAGE } from './options.mjs'
import { startRedis } from './redis-server.mjs'
import { printReport, writeJson } from './report.mjs'

const FULL = { rounds: 11, warmUps: 2, scale: 1 }
const QUICK = { rounds: 5, warmUps: 1, scale: 0.2 }

async function main() {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return console.log(USAGE)
  if (!options.references) await requireCore()
  const plan = { ...(options.quick ? QUICK : FULL), calm: options.calm }
  const redis = await startRedis()
  const machine = describeMachine(redis.version)
  const results = await measureAll(select(allBenchmarks({ redis, scale: plan.scale }), options), plan)
  printReport(machine, results)
  if (options.json) writeJson(options.json, machine, plan, results)
  await redis.stop()
}

/** Loads the package before anything is measured, so that a missing build is told at once. */
async function requireCore() {
  try {
    await import('../index.js')
  } catch (cause) {
    throw new Error(`nuxt-queue-core can't be loaded; build it with: npm run build\n${cause.message}`, { cause })
  }
}

function select(benchmarks, { only, references }) {
  const wanted = benchmarks.filter(({ name }) => only.length === 0 || only.some((text) => matches(name, text)))
  if (wanted.length === 0)
    throw new Error(`no benchmark is called ${only}; there are:\n  ${benchmarks.map(({ name }) => name).join('\n  ')}`)
  if (!references) return wanted
  return wanted.filter(({ needsCore }) => !needsCore).map(withoutCore)
}

function withoutCore(benchmark) {
  return {
    ...benchmark,
    variants: benchmark.variants.filter(({ core }) => !core),
    metrics: benchmark.metrics.filter(({ coreOnly }) => !coreOnly),
  }
}

function matches(name, text) {
  return name.toLowerCase().includes(text.toLowerCase())
}

async function measureAll(benchmarks, plan) {
  const results = []
  for (const [i, benchmark] of benchmarks.entries()) {
    process.stderr.write(`[${String(i + 1).padStart(2)}/${benchmarks.length}] ${benchmark.name} …`)
    const start = performance.now()
    results.push(...(await measure(benchmark, plan)))
    process.stderr.write(` ${((performance.now() - start) / 1000).toFixed(1)} s\n`)
  }
  return results
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

main().catch((error) => {
  console.error(`\nbenchmark: ${error.message}`)
  process.exit(1) // with everything that is still open; the server ends with the process
})
