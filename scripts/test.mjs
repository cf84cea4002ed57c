/**
 * `npm test`: all checks, each a named stage. Goes on after a failure wherever that makes sense.
 *
 *     npm test                                    everything
 *     npm test -- --list                          the stages
 *     npm test -- --only js                       one stage (or several: js,rust) and what it needs
 *     npm test -- --only js -- reducer            the same, further arguments for the program behind it
 */

import { parseArgs } from 'node:util'
import { stages } from './lib/stages.mjs'
import { bold, dim, duration, green, item, red, runScript, ScriptError, say, yellow } from './lib/terminal.mjs'

/** @typedef {{ name: string, outcome: 'passed' | 'failed' | 'skipped', detail: string }} Result */

await runScript(async () => {
  const { values, positionals } = parseArgs({
    options: { only: { type: 'string' }, list: { type: 'boolean' } },
    allowPositionals: true,
  })
  if (values.list) return list()
  const wanted = choose(values.only)
  /** @type {Result[]} */
  const results = []
  const started = Date.now()
  for (const stage of stages.filter(({ name }) => wanted.has(name))) {
    results.push(await perform(stage, results, values.only === stage.name ? positionals : []))
  }
  return summarise(results, Date.now() - started)
})

function list() {
  for (const { name, about } of stages) item(' ', name, about)
}

/**
 * The names given, with all that they need.
 * @param {string | undefined} only
 */
function choose(only) {
  const wanted = new Set(only?.split(',') ?? stages.map(({ name }) => name))
  for (const name of wanted) {
    const stage = stages.find((candidate) => candidate.name === name)
    if (!stage)
      throw new ScriptError(`There is no stage '${name}'. Stages: ${stages.map((each) => each.name).join(', ')}`)
    for (const need of stage.needs ?? []) wanted.add(need)
  }
  return wanted
}

/**
 * @param {import('./lib/stages.mjs').Stage} stage
 * @param {Result[]} before
 * @param {string[]} more
 * @returns {Promise<Result>}
 */
async function perform({ name, about, needs = [], run }, before, more) {
  const broken = before.filter((result) => needs.includes(result.name) && result.outcome !== 'passed')
  if (broken.length > 0) {
    return { name, outcome: 'skipped', detail: `needs ${broken.map((result) => result.name).join(', ')}` }
  }
  say(`${bold(`▸ ${name}`)}  ${dim(about)}`)
  const started = Date.now()
  try {
    const said = await run(more)
    const detail = [duration(Date.now() - started), said].filter(Boolean).join(', ')
    say(`  ${green('✔')} ${dim(detail)}`)
    return { name, outcome: 'passed', detail }
  } catch (error) {
    const message = error instanceof ScriptError ? error.message : error instanceof Error ? error.stack : String(error)
    say(`  ${red('✘')} ${message}`)
    return { name, outcome: 'failed', detail: duration(Date.now() - started) }
  }
}

/**
 * @param {Result[]} results
 * @param {number} ms
 */
function summarise(results, ms) {
  const marks = { passed: green('✔'), failed: red('✘'), skipped: yellow('-') }
  say(`\n${bold('Summary')}  ${dim(duration(ms))}`)
  for (const { name, outcome, detail } of results) item(marks[outcome], name, detail)
  const count = (/** @type {Result['outcome']} */ outcome) =>
    results.filter((result) => result.outcome === outcome).length
  const skipped = count('skipped')
  // The last line is read by machines: it stays plain.
  say(`\n${count('passed')} passed, ${count('failed')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return count('failed') > 0 ? 1 : 0
}
