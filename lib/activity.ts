/**
 * What is under way, so that tests can wait until nothing is.
 */

/** Counts what is under way. */
export class Activity {
  #count = 0
  #whenQuiet: Array<() => void> = []

  get isBusy(): boolean {
    return this.#count > 0
  }

  /** Counts `work` until it has settled. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    this.#count++
    try {
      return await work()
    } finally {
      if (--this.#count === 0) for (const resolve of this.#whenQuiet.splice(0)) resolve()
    }
  }

  /** Resolves when nothing is under way. */
  async quiet(): Promise<void> {
    if (this.isBusy) await new Promise<void>((resolve) => this.#whenQuiet.push(resolve))
  }
}
