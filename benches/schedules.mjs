// The instants of ordinary schedules, each from many moments. Rust and JavaScript have the same list of them.
//
//   compute() → { ns (of one instant), instants }     close()

import { readFileSync } from 'node:fs'
import { Cron } from 'croner'
import { startInstants } from './instants.mjs'
import { CORE } from './subjects.mjs'

const workload = JSON.parse(readFileSync(new URL('schedules.json', import.meta.url), 'utf8'))
const moments = Array.from(
  { length: workload.momentCount },
  (_, i) => new Date(workload.firstMoment + i * workload.momentStep),
)
const cases = workload.expressions.flatMap((cron) => workload.zones.map((timezone) => ({ cron, timezone })))

/** How many instants in a row. */
export const { ahead } = workload

/** @param {number} kind index of a kind of work in `instants.rs` */
export function cronCrate(kind) {
  return { name: 'cron and chrono-tz', open: async () => openInstants(`${kind} 0`) }
}

/** @param {number} kind index of a kind of work in `instants.rs` */
export function coreInRust(kind) {
  return { name: CORE, core: true, open: async () => openInstants(`${kind} 1`) }
}

/** Each expression was read before. */
export function cronerKept() {
  const open = async () => {
    const kept = cases.map(({ cron, timezone }) => new Cron(cron, { timezone, paused: true }))
    return timed(() => kept.flatMap((job) => moments.map((moment) => job.nextRun(moment).getTime())))
  }
  return { name: 'croner, expression kept', open }
}

/** Each call begins with the expression, as one does who gets it from a stored definition. */
export function cronerAnew() {
  const next = ({ cron, timezone }, moment) => new Cron(cron, { timezone, paused: true }).nextRun(moment).getTime()
  return {
    name: 'croner, expression read',
    open: async () => timed(() => cases.flatMap((each) => moments.map((moment) => next(each, moment)))),
  }
}

export function coreNext() {
  const open = async () => {
    const { nextInstant } = await import('../dist/schedule.js')
    return timed(() => cases.flatMap((each) => moments.map((moment) => nextInstant(each, moment))))
  }
  return { name: CORE, core: true, open }
}

export function cronerAhead() {
  const open = async () => {
    const kept = cases.map(({ cron, timezone }) => new Cron(cron, { timezone, paused: true }))
    return timed(() => kept.flatMap((job) => job.nextRuns(ahead, moments[0]).map((at) => at.getTime())))
  }
  return { name: 'croner', open }
}

export function corePreview() {
  const open = async () => {
    const { previewSchedule } = await import('../dist/schedule.js')
    // One that lies at the moment itself is a next one to `previewSchedule`, and none to croner.
    const from = moments[0].getTime() + 1
    const preview = (each) => previewSchedule(each, from, ahead).map(({ at }) => Date.parse(at))
    return timed(() => cases.flatMap(preview))
  }
  return { name: CORE, core: true, open }
}

function timed(pass) {
  return {
    compute: () => {
      const start = performance.now()
      const instants = pass()
      return { ns: ((performance.now() - start) * 1e6) / instants.length, instants }
    },
    close: async () => {},
  }
}

function openInstants(line) {
  const { ask, close } = startInstants()
  return { compute: () => ask(line), close }
}
