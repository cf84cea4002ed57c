/**
 * How far a command has come: a bar on a terminal, a line now and then for everybody else.
 */

import { count, type Terminal } from './terminal.js'

const BAR = 30
/** Between two drawings of the bar, in milliseconds. */
const DRAW_EVERY = 80
/** Lines that somebody reads later: at each tenth. */
const LINES = 10

export class Progress {
  readonly #output: Terminal['stderr']
  readonly #what: string
  readonly #total: number
  #done = 0
  #drawnAt = Number.NEGATIVE_INFINITY
  #lines = 0

  /** `what` there are `total` of, such as `runs`. */
  constructor({ stderr }: Terminal, what: string, total: number) {
    this.#output = stderr
    this.#what = what
    this.#total = total
  }

  /** One more is done. */
  advance(): void {
    this.#done++
    if (this.#output.isTTY) this.#draw()
    else this.#line()
  }

  /** Leaves the bar as it is, and what comes next on a line of its own. */
  end(): void {
    if (!this.#output.isTTY || this.#total === 0) return
    this.#drawnAt = Number.NEGATIVE_INFINITY
    this.#draw()
    this.#output.write('\n')
  }

  #draw(): void {
    const now = performance.now()
    if (now - this.#drawnAt < DRAW_EVERY) return
    this.#drawnAt = now
    const filled = Math.round((BAR * this.#done) / this.#total)
    this.#output.write(`\r${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${this.#text()}`)
  }

  #line(): void {
    const lines = Math.floor((LINES * this.#done) / this.#total)
    if (lines === this.#lines) return
    this.#lines = lines
    this.#output.write(`${this.#text()}\n`)
  }

  #text(): string {
    const percent = Math.floor((100 * this.#done) / this.#total)
    return `${String(percent).padStart(3)} %  ${count(this.#done)} of ${count(this.#total)} ${this.#what}`
  }
}
