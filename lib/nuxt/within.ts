import { config as refuse } from '../options.js'

/** Checks what a place says, and puts the name of the place before what is wrong there. */
export function within(place: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    const message = (error as Error).message
    const isMember = place.startsWith('queue') && /^[a-z]\w*(\.\w+)* is /.test(message)
    throw refuse(isMember ? `${place}.${message}` : `${place}: ${message}`)
  }
}
