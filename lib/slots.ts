/**
 * How many handlers of a worker work at the same time. One that waits in an await makes room for another, and needs
 * room again before it goes on.
 */

/** Slots for handlers. */
export class Slots {
  readonly #size: number
  #used = 0
  readonly #queue: Array<() => void> = []

  constructor(size: number) {
    this.#size = size
  }

  /** A job began: the dispatcher saw that there is room. */
  take(): void {
    this.#used++
  }

  /** Resolves when there is room for a handler that waited. */
  async enter(): Promise<void> {
    if (this.#used < this.#size) this.#used++
    else await new Promise<void>((resolve) => this.#queue.push(resolve))
  }

  leave(): void {
    const next = this.#queue.shift()
    if (next) next()
    else this.#used--
  }
}
