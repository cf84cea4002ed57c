// Waiting for the neighbours: on a shared machine a round is worth more when nobody else computes.

import { cpus } from 'node:os'

const WINDOW_MS = 100
const IDLE_SHARE = 0.85
const PATIENCE_MS = 10_000

/** Resolves when the processors have been mostly idle for a moment, or patience has run out. */
export async function waitForCalm() {
  const deadline = Date.now() + PATIENCE_MS
  while ((await idleShare()) < IDLE_SHARE && Date.now() < deadline);
}

async function idleShare() {
  const before = processorTimes()
  await new Promise((resolve) => setTimeout(resolve, WINDOW_MS))
  const after = processorTimes()
  return (after.idle - before.idle) / (after.total - before.total || 1)
}

function processorTimes() {
  const times = cpus().flatMap((cpu) => Object.entries(cpu.times))
  const sum = (entries) => entries.reduce((total, [, ms]) => total + ms, 0)
  return { idle: sum(times.filter(([name]) => name === 'idle')), total: sum(times) }
}
