// Many streams with the same events, made by the server: much faster than writing each.

import { encodeAppends, RawWriter } from './raw-writer.mjs'

/**
 * @param {{ port: number, inspector: import('ioredis').Redis }} redis
 * @param {object[]} events
 * @param {string[]} streams
 */
export async function copyStream({ port, inspector }, events, streams) {
  const seed = 'bench:copied'
  const writer = await RawWriter.open(port)
  await inspector.unlink(seed)
  await writer.write(encodeAppends(seed, events))
  writer.close()
  await inspector.pipeline(streams.map((stream) => ['copy', seed, stream])).exec()
  await inspector.unlink(seed)
}

/**
 * @param {import('ioredis').Redis} inspector
 * @param {string} pattern
 */
export async function unlinkAll(inspector, pattern) {
  for await (const keys of inspector.scanStream({ match: pattern, count: 10_000 })) {
    if (keys.length > 0) await inspector.unlink(keys)
  }
}
