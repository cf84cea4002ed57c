import { parseArgs } from 'node:util'

export const USAGE = `Usage: npm run bench -- [options] [text …]

  <text>          the same as --only <text>
  --quick         fewer rounds and events; ratios are rough
  --only <text>   only the rows whose name contains the text; may be repeated
  --calm          wait before each round until the processors are idle, at most 10 seconds:
                  for a machine with neighbours; takes longer
  --references    only the baseline and its fellows, without nuxt-queue-core
  --json <file>   also write every sample to a file
  --help

REDIS_SERVER names the redis-server binary to start (default: the one in PATH).`

/**
 * @param {string[]} args without node and script
 * @returns {{ quick: boolean, calm: boolean, only: string[], references: boolean, json?: string, help: boolean }}
 */
export function readOptions(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      calm: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      references: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  return { ...values, only: [...values.only, ...positionals] }
}
