// @ts-check

/** A reader that has seen enough, such as `head`, is no failure. */
export function ignoreClosedOutput() {
  process.stdout.on('error', (error) => {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EPIPE') process.exit(0)
    throw error
  })
}

/**
 * One line: the code and what happened, without the user and password that a URL may hold.
 *
 * @param {import('./terminal.mjs').Terminal} terminal
 * @param {unknown} error
 */
export function explainFailure(terminal, error) {
  const { code = 'ERROR', message } = /** @type {NodeJS.ErrnoException} */ (error)
  const login = process.env.REDIS_URL?.match(/\/\/(.+)@/)?.[1]
  const shown = login ? message.replaceAll(login, '***') : message
  const text = shown.replace(/\s+/g, ' ')
  console.error(`${terminal.paint('The demo failed', 'red', 'bold')} (${code}): ${text}`)
  process.exitCode = 1
}
