/**
 * State by name, wherever it is kept.
 */

/** Names and values. `undefined`: there is none. */
export interface KeyedState {
  get(name: string): Promise<unknown>
  set(name: string, value: unknown, options?: { ttl?: number }): Promise<void>
  delete(name: string): Promise<void>
  /** The names that begin with a prefix, in ascending order. */
  list(prefix: string): Promise<string[]>
  /** Sets what `update` makes of the present value; concurrent ones lose nothing. */
  patch(name: string, update: (previous: unknown) => unknown): Promise<unknown>
}
