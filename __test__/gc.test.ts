/** What nobody uses any more goes by itself, what is pending stays, and what is closed is gone. */

import { expect, test } from 'vitest'
import { newStream, onRedis } from './support/backends.js'
import { type Ended, runCode } from './support/child.js'
import { command, until } from './support/redis.js'

onRedis('garbage', (home) => {
  /** Runs a program that can ask for a collection, and count the connections of the server. */
  async function run(code: string): Promise<Ended> {
    const ended = await runCode(
      `
        import { Redis } from 'ioredis'
        import { EventStore } from './index.js'
        const options = { adapter: 'redis', redis: { url: '${home.server.url}' } }
        const open = (more = {}) => EventStore.open({ ...options, ...more })
        const note = { type: 'note.added', data: 1 }
        const stream = '${newStream()}'
        const watcher = new Redis('${home.server.url}')
        const connections = async () => Number(/connected_clients:(\\d+)/.exec(await watcher.info('clients'))[1])
        const collect = async () => {
          for (let n = 0; n < 3; n++) {
            globalThis.gc()
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
        const until = async (condition, what) => {
          for (let n = 0; n < 300; n++) {
            await collect()
            if (await condition()) return
          }
          throw new Error('waited in vain for ' + what + ', connections: ' + (await connections()))
        }
        const before = await connections()
        ${code}
        watcher.disconnect()
        console.log('end')
      `,
      { node: ['--expose-gc'] },
    )
    expect({ code: ended.code, stderr: ended.stderr }).toEqual({ code: 0, stderr: '' })
    expect(ended.stdout).toBe('end\n')
    return ended
  }

  test('stores that are dropped without close give their connections back', async () => {
    await run(`
      const use = async () => {
        const store = await open()
        await store.append(stream, note)
        await store.query({ stream })
        await store.state('r').set('k', 1)
        await store.iterate({ stream })[Symbol.asyncIterator]().next()
      }
      for (let n = 0; n < 30; n++) await use()
      await until(async () => (await connections()) <= before, 'the connections to be gone')
    `)
  })

  test('also after a subscription has ended', async () => {
    await run(`
      const use = async () => {
        const store = await open()
        const subscriptions = [await store.subscribe(stream, () => {}), await store.subscribe('*', () => {})]
        for (const subscription of subscriptions) await subscription.unsubscribe()
      }
      for (let n = 0; n < 10; n++) await use()
      await until(async () => (await connections()) <= before, 'the connections to be gone')
    `)
  })

  test('a subscription keeps its store, which nobody else refers to', async () => {
    await run(`
      let seen = 0
      await (async () => void (await (await open()).subscribe(stream, () => seen++)))()
      await collect()
      const other = await open()
      for (let n = 1; n <= 10; n++) {
        await other.append(stream, note)
        await until(() => seen === n, n + ' events')
      }
      await other.close()
    `)
  })

  test('pending appends and reads keep their store', async () => {
    await run(`
      const pending = await (async () => {
        const store = await open()
        await watcher.client('PAUSE', 300)
        return [...Array.from({ length: 100 }, () => store.append(stream, note)), store.query({ stream })]
      })()
      await collect()
      const results = await Promise.all(pending)
      if (results[100].length !== 100) throw new Error('only ' + results[100].length)
    `)
  })

  test('appends that nobody awaits keep their store, too', async () => {
    await run(`
      await (async () => {
        const store = await open()
        await watcher.client('PAUSE', 300)
        for (let n = 0; n < 100; n++) void store.append(stream, note)
      })()
      await until(async () => (await watcher.xlen(stream)) === 100, 'the events')
    `)
  })

  test('what a store gave stays usable without it', async () => {
    await run(`
      const [state, iterator] = await (async () => {
        const store = await open()
        await store.append(stream, note)
        return [store.state('r'), store.iterate({ stream })[Symbol.asyncIterator]()]
      })()
      await collect()
      await state.set('k', 1)
      if ((await iterator.next()).value.data !== 1) throw new Error('no event')
    `)
  })

  test('memory stores that are dropped give their memory back', async () => {
    await run(`
      const text = 'x'.repeat(100_000)
      const fill = async () => {
        const store = await EventStore.open()
        for (let n = 0; n < 200; n++) await store.append(stream, { type: 'note.added', data: text })
      }
      const rounds = async (count) => {
        for (let n = 0; n < count; n++) {
          await fill()
          await collect()
        }
        return process.memoryUsage().rss
      }
      const warm = await rounds(5)
      const growth = (await rounds(15)) - warm
      if (growth > 100 * 2 ** 20) throw new Error('300 MB passed through, and ' + growth + ' bytes stayed')
    `)
  })

  test('close() gives the connections back, with no help of the collector', async () => {
    const store = await home.open()
    await store.subscribe(newStream(), () => {})
    const names = async () =>
      String(await command(home.server, 'CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    const open = await names()
    await store.close()
    await until(async () => (await names()) <= open - 2, 'both connections to be gone', 5000)
    expect(store.stats().appended).toBe(0)
  })
})
