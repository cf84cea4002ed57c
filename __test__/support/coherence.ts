/** Processes that read and write the same runs, and what each of their reads may have seen. */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { StoreOptions, UntypedRecord } from '../../index.js'
import { root } from '../../scripts/lib/paths.mjs'
import { runFile } from './child.js'
import { type Asked, type State, type Timeline, textOf } from './timeline.js'

/** What a child is told; see `coherence-child.mjs`. */
export interface Task {
  options: StoreOptions
  runs: string[]
  name: string
  seed: number
  /** How long it goes on. */
  ms: number
  /** How many calls it has open at a time. */
  loops: number
  /** Of a hundred calls so many are writes. */
  writes: number
  /** Milliseconds between two calls of a loop, at most. */
  maxPause: number
  /** For which of the runs this one is the only writer, in the intervals in which each has but one. */
  place: number
}

/** A read of a child. */
export type Read = {
  run: string
  consistency: 'cached' | 'strong'
  /** How many of the child's writes were acknowledged before it. */
  acked: number
  start: number
  end: number
  /** How long the child was kept from running around it. */
  stalled: number
} & (
  | { kind: 'get' | 'has'; key: string; seen: string }
  | { kind: 'list'; prefix: string; seen: string }
  | { kind: 'getAll'; seen: Record<string, unknown> }
  | { kind: 'at'; point: string | number; seen: Record<string, unknown> }
  | { kind: 'query'; query: Asked; ids: string[]; digest: string }
)

/** What a child has done. */
export interface Report {
  acks: Array<[run: string, correlationId: string]>
  reads: Read[]
  stats: Record<string, number>
}

/** Starts a child and gives its report when it has ended. */
export async function work(task: Task): Promise<Report> {
  const file = join(root, '__test__', 'support', 'coherence-child.mjs')
  // That connections are lost is what is played: it need not be said.
  const env = { NQ_LOG: 'error' }
  const ended = await runFile([file, JSON.stringify(task)], { timeoutMs: task.ms + 40_000, env })
  if (ended.code !== 0 || ended.stderr !== '') throw new Error(`${task.name} ended with ${ended.code}: ${ended.stderr}`)
  return JSON.parse(ended.stdout)
}

/** A run after everything: its timeline, and its records as an uncached store gives them. */
export interface Truth {
  timeline: Timeline
  records: UntypedRecord[]
}

/** How long another process's write may stay unseen by a cached read over this span of time. */
export type Delay = (from: number, to: number) => number

/** Clocks are compared in whole milliseconds. */
const GRANULARITY = 2

/** What is wrong with the reads of a child: a line for each. */
export function faultsOf(report: Report, truths: Map<string, Truth>, delay: Delay): string[] {
  const acknowledged = new Map<string, number[]>()
  for (const [run, { timeline }] of truths) acknowledged.set(run, acknowledgedCounts(report, run, timeline))
  return report.reads.flatMap((read) => {
    const truth = truths.get(read.run) as Truth
    const own = acknowledged.get(read.run)?.[read.acked] ?? 0
    const fault = faultOf(read, truth, own, delay)
    return fault ? [`${read.run} ${JSON.stringify(read).slice(0, 400)}: ${fault}`] : []
  })
}

/** How many events of a run a process has to see after so many of its acknowledgements. */
function acknowledgedCounts({ acks }: Report, run: string, timeline: Timeline): number[] {
  const positions = new Map(timeline.entries.map(({ correlationId }, index) => [correlationId, index]))
  const counts = [0]
  for (const [of, correlationId] of acks) {
    const position = of === run ? positions.get(correlationId) : -1
    if (position === undefined) throw new Error(`${correlationId} was acknowledged and is not in ${run}`)
    counts.push(Math.max(counts.at(-1) as number, position + 1))
  }
  return counts
}

function faultOf(read: Read, { timeline, records }: Truth, own: number, delay: Delay): string | undefined {
  const most = timeline.until(read.end + GRANULARITY)
  const patience = read.consistency === 'strong' ? GRANULARITY : delay(read.start, read.end) + read.stalled
  const least = Math.max(own, timeline.until(read.start - patience - 1))
  const expect = (name: string, view: (state: State) => string, seen: string) => {
    if (timeline.spans(name, view, seen).some(([from, to]) => from <= most && to >= least)) return undefined
    const shown = [...new Set(timeline.shown(name, view).slice(least, most + 1))]
    return `right after ${least} to ${most} events (own: ${own}): ${shown.slice(0, 5).join(' or ')}`
  }
  switch (read.kind) {
    case 'get':
      return expect(`get ${read.key}`, (state) => JSON.stringify(state.get(read.key)) ?? 'undefined', read.seen)
    case 'has':
      return expect(`has ${read.key}`, (state) => String(state.has(read.key)), read.seen)
    case 'getAll':
      return expect('all', textOf, textOf(read.seen))
    case 'list': {
      const keys = (state: State) => [...state.keys()].filter((key) => key.startsWith(read.prefix)).sort()
      return expect(`list ${read.prefix}`, (state) => JSON.stringify(keys(state)), read.seen)
    }
    case 'at': {
      const { point } = read
      const count = typeof point === 'string' ? timeline.before(point) + 1 : timeline.until(point)
      const right = timeline.shown('all', textOf)[count]
      return textOf(read.seen) === right ? undefined : `right: ${right}`
    }
    case 'query': {
      const positions = timeline.answering(read.query, read.ids, least, most)
      if (!positions) return `right: the matching events of the first ${least} to ${most}`
      const expected = JSON.stringify(positions.map((position) => records[position]))
      const isSame = createHash('sha1').update(expected).digest('hex') === read.digest
      return isSame ? undefined : 'right events, other contents'
    }
  }
}

/** Snapshots that hold something else than the fold of all events before them (P4). */
export function wrongSnapshots(timeline: Timeline): string[] {
  const { stream, entries } = timeline
  const shown = timeline.shown('all', textOf)
  return entries.flatMap(({ id, type, data }, position) => {
    if (type !== 'state.snapshot' || textOf(data) === shown[position]) return []
    return [`${stream} ${id}: ${textOf(data)}; right: ${shown[position]}`]
  })
}

/** How many state events lie between one snapshot and the next. */
export function gapsBetweenSnapshots({ entries }: Timeline): number[] {
  const gaps: number[] = []
  let since: number | undefined
  for (const { type } of entries) {
    if (type === 'state.snapshot') {
      if (since !== undefined) gaps.push(since)
      since = 0
    } else if (since !== undefined && type.startsWith('state.')) since++
  }
  return gaps
}
