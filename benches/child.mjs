// Another process, when one is what is measured or what disturbs. It speaks by messages: each is answered by one.

import { fork } from 'node:child_process'
import { once } from 'node:events'

/**
 * Starts a module of this folder and waits for its first message.
 *
 * @param {string} file
 * @param {Array<string | number>} args
 * @returns {Promise<{ first: any, ask(message: any): Promise<any>, end(): Promise<void> }>}
 */
export async function startChild(file, args) {
  const child = fork(new URL(file, import.meta.url), args.map(String), { execArgv: ['--expose-gc'] })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const gone = once(child, 'exit').then(([code, signal]) => {
    process.off('exit', kill)
    return code ?? signal
  })

  async function answer() {
    const lost = gone.then((how) => {
      throw new Error(`${file} ended with ${how}`)
    })
    const [message] = await Promise.race([once(child, 'message'), lost])
    return message
  }

  return {
    first: await answer(),
    ask: (message) => {
      child.send(message)
      return answer()
    },
    end: async () => {
      if (child.connected) child.disconnect()
      await gone
    },
  }
}
