import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg, release, type } from 'node:os'

/**
 * What the numbers were taken on.
 *
 * @param {string} redisVersion
 */
export function describeMachine(redisVersion) {
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpuModel(),
    cores: availableParallelism(),
    system: `${type()} ${release()} ${process.arch}`,
    node: process.version,
    redis: redisVersion,
    load: loadavg()[0].toFixed(2),
  }
}

/** One line for the head of a table. */
export function machineLine({ date, cpu, cores, system, node, redis, load }) {
  return `${date} · ${cpu}, ${cores} cores · ${system} · Node ${node} · Redis ${redis} on loopback · load ${load} before the run`
}

function cpuModel() {
  const model = cpus()[0]?.model.trim()
  if (model && model !== 'unknown') return model
  return execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim()
}
