/**
 * The conformance scenarios of tests/conformance on every backend, as P9 promises: all backends pass one suite.
 * Some of them tell of P2 (order), P4 (snapshots) and P5 (time travel).
 */

import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { makeDirectory, removeDirectory } from './support/directory.js'
import { type RedisServer, startRedis } from './support/redis.js'
import { type Backend, canPlay, loadSubjects, play } from './support/scenario.js'

/** A backend that is brought up for the suite. If it can't be, all its scenarios fail. */
interface Host extends Pick<Backend, 'name' | 'capabilities'> {
  start(): Promise<Backend['options']>
  stop(): Promise<void>
}

let redis: RedisServer | undefined
const directory = makeDirectory()

const hosts: Host[] = [
  {
    name: 'memory',
    capabilities: ['virtualClock'],
    start: async () => () => ({ adapter: 'memory' }),
    stop: async () => {},
  },
  {
    name: 'file',
    capabilities: ['virtualClock', 'shared'],
    // A directory for each scenario: their clocks differ.
    start: async () => () => ({ adapter: 'file', file: { dir: join(directory, randomUUID()) } }),
    stop: async () => removeDirectory(directory),
  },
  {
    name: 'redis',
    capabilities: ['shared'],
    start: async () => {
      redis = await startRedis()
      const { url } = redis
      return () => ({ adapter: 'redis', redis: { url } })
    },
    stop: async () => redis?.stop(),
  },
]

const subjects = loadSubjects()

describe.each(hosts)('P9 on $name', ({ name, capabilities, start, stop }) => {
  const backend: Backend = { name, capabilities, options: () => ({}) }

  beforeAll(async () => {
    backend.options = await start()
  })
  afterAll(stop)

  for (const { subject, scenarios } of subjects) {
    for (const scenario of scenarios.filter((each) => canPlay(each, backend))) {
      test(`${subject} > ${scenario.name}`, () => play(scenario, backend))
    }
  }
})
