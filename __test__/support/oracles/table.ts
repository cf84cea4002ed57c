/** The table of disagreements in `docs/schedules.md`. */

/** Who sees an expression otherwise, and in which zones. */
export interface Row {
  oracle: string
  cron: string
  zones: string[]
}

const HEADING = '## Who sees it otherwise'

/** One row for each expression. A cell of zones may say `all`. */
export function readDisagreements(page: string, allZones: string[]): Row[] {
  const [, section = ''] = page.split(HEADING)
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).flatMap((line) => {
    const [, oracle = '', expressions = '', where = ''] = line.split('|').map((cell) => cell.trim())
    const zones = where === 'all' ? allZones : where.split(', ')
    return Array.from(expressions.matchAll(/`([^`]+)`/g), ([, cron = '']) => ({ oracle, cron, zones }))
  })
}
