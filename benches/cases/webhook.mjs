// Requests to a webhook: checked, recorded and answered, beside a server that only checks them.

import { coreWebhooks, providersLibrary } from '../webhooks.mjs'

/** @param {{ redis: { port: number }, scale: number }} context */
export function webhookBenchmarks({ redis: { port }, scale }) {
  const all = [
    providersLibrary(),
    coreWebhooks('in memory', {}),
    coreWebhooks('in memory, no payloads kept', { persistData: false }),
    coreWebhooks('on Redis', { port }),
  ]
  return [
    requests('genuine webhook requests of 300 bytes', all, { duration: 3 * scale, bytes: 250, genuine: true }),
    requests('forged webhook requests of 300 bytes', all, { duration: 3 * scale, bytes: 250, genuine: false }),
    requests('genuine webhook requests of 1 MiB', [all[0], all[2]], {
      ...{ duration: 3 * scale, bytes: (1 << 20) - 70, genuine: true },
    }),
  ]
}

function requests(name, variants, { duration, ...kind }) {
  // Counted by whole seconds.
  const seconds = Math.max(1, Math.round(duration))
  return {
    name,
    variants,
    work: (subject) => subject.send({ duration: seconds, ...kind }),
    check: async () => {},
    metrics: [{ name, unit: 'requests/s', better: 'higher', value: (_, perSecond) => perSecond }],
  }
}
