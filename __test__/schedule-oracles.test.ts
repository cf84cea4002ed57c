/**
 * Schedules, held against two others that compute them: croner, and cronsim, which does as Debian's cron. Each
 * disagreement stands in the table of `docs/schedules.md`, and nothing stands there that is none.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cron } from 'croner'
import { beforeAll, expect, test } from 'vitest'
import { previewSchedule } from '../lib/schedule.js'
import { python } from '../scripts/lib/cronsim.mjs'
import { root } from '../scripts/lib/paths.mjs'
import { askCronsim } from './support/oracles/cronsim.js'
import { expressions, zones } from './support/oracles/expressions.js'
import { type Row, readDisagreements } from './support/oracles/table.js'

/** From each of the two moments in a zone. */
const COUNT = 100

interface Case {
  cron: string
  zone: string
  /** Seconds since the Unix epoch, of which the first instant may be the first. */
  from: number
  count: number
}

const cases: Case[] = expressions.flatMap((cron) =>
  Object.entries(zones).flatMap(([zone, moments]) =>
    moments.map((moment) => ({ cron, zone, from: Date.parse(moment) / 1000, count: COUNT })),
  ),
)
const page = readFileSync(join(root, 'docs/schedules.md'), 'utf8')
const zoneNames = Object.keys(zones)
const rows: Row[] = readDisagreements(page, zoneNames)

const answers: { ours: string[]; croner: string[]; cronsim: string[] } = { ours: [], croner: [], cronsim: [] }

beforeAll(async () => {
  const asked = askCronsim(python, cases)
  answers.ours = cases.map((each) => String(computeHere(each)))
  answers.croner = cases.map((each) => String(computeWithCroner(each)))
  answers.cronsim = (await asked).map(String)
}, 120_000)

function computeHere({ cron, zone, from, count }: Case): number[] {
  const instants = previewSchedule({ cron, timezone: zone }, from * 1000, count)
  return instants.map(({ at }) => Date.parse(at) / 1000)
}

function computeWithCroner({ cron, zone, from, count }: Case): number[] {
  // The rule of Vixie cron, that a star makes a rhythm.
  const job = new Cron(cron, { timezone: zone, paused: true, fixedTimeRule: 'no-wildcard' })
  return job.nextRuns(count, new Date((from - 1) * 1000)).map((at) => at.getTime() / 1000)
}

test('there is enough to compare', () => {
  expect(expressions.length).toBeGreaterThanOrEqual(80)
  expect(new Set(expressions).size).toBe(expressions.length)
  expect(zoneNames.length).toBeGreaterThanOrEqual(8)
  const counts = answers.ours.map((instants) => instants.split(',').length)
  expect(new Set(counts)).toEqual(new Set([COUNT]))
  const instants = (cases.length * COUNT).toLocaleString('en-US')
  expect(page).toContain(`${expressions.length} expressions in ${zoneNames.length} zones`)
  expect(page).toContain(`${instants} in all`)
})

test.each(['croner', 'cronsim'] as const)('%s agrees, but for what the table says', (oracle) => {
  const found = new Set<string>()
  for (const [i, { cron, zone }] of cases.entries()) {
    if (answers[oracle][i] !== answers.ours[i]) found.add(`${cron} in ${zone}`)
  }
  const told = rows
    .filter((row) => row.oracle === oracle)
    .flatMap(({ cron, zones }) => zones.map((z) => `${cron} in ${z}`))
  expect([...found].sort()).toEqual(told.sort())
  const all = expressions.length * zoneNames.length
  const numbers = `\\| ${oracle} .*\\| ${all - found.size} of ${all} +\\|`
  expect(page).toMatch(new RegExp(numbers))
})
