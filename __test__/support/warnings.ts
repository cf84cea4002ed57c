/** Warnings of the process, caught before Node prints them. */

/** Catches warnings until it is stopped. */
export class Warnings {
  readonly caught: Error[] = []
  readonly #others = process.listeners('warning')
  readonly #listener = (warning: Error) => this.caught.push(warning)

  constructor() {
    process.removeAllListeners('warning').on('warning', this.#listener)
  }

  /** Lets Node print warnings again. */
  stop(): void {
    process.off('warning', this.#listener)
    for (const other of this.#others) process.on('warning', other)
  }
}
