/**
 * Time as the flow engines see it: the system's, or a virtual clock's.
 */

/** Tells the time and calls back at an instant. */
export interface Timers {
  /** Milliseconds since the Unix epoch. */
  now(): number
  /** Calls back once it is `ms`, however far away that is, and returns what cancels it. Does not keep Node alive. */
  at(ms: number, callback: () => void): () => void
}
