/** Large bodies: what a server of webhooks needs of memory does not grow with their number. */

import { afterAll, expect, test } from 'vitest'
import { startChild } from '../benches/child.mjs'
import { openWebhookServer } from '../benches/webhooks.mjs'

const MIB = 1 << 20
const closes: Array<() => Promise<void>> = []
afterAll(async () => {
  await Promise.all(closes.map((close) => close()))
})

test.each([true, false])(
  'requests of 1 MiB, genuine: %s',
  async (genuine) => {
    const server = await startChild('webhook-server.mjs', ['core', JSON.stringify({ persistData: false })])
    closes.push(() => server.end())
    const { send } = openWebhookServer(server)
    const kind = { bytes: MIB - 70, genuine }
    await send({ amount: 64, ...kind })
    const { rss: before } = await server.ask('memory')
    await send({ amount: 300, ...kind })
    const { rss: after } = await server.ask('memory')
    // Kept, they would be 300 MiB.
    expect(after - before).toBeLessThan(150 * MIB)
  },
  60_000,
)
