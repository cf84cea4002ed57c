// The baseline in memory: one array per stream, an asynchronous append that stamps id and time and
// wakes subscribers, and a Map of JSON texts for state.

export class BaselineMemoryStore {
  #streams = new Map()
  #handlers = new Map()
  #state = new Map()

  async append(stream, event) {
    // In this order, as the original does it: what is assigned stands behind what was given.
    const record = { ...event, id: this.#nextId(), ts: new Date().toISOString(), subject: stream }
    const records = this.#streams.get(stream)
    if (records) records.push(record)
    else this.#streams.set(stream, [record])
    for (const handler of this.#handlers.get(stream) ?? []) handler(record)
    return record
  }

  async query(stream) {
    return [...(this.#streams.get(stream) ?? [])]
  }

  async subscribe(stream, handler) {
    const handlers = this.#handlers.get(stream) ?? new Set()
    this.#handlers.set(stream, handlers.add(handler))
    return async () => handlers.delete(handler)
  }

  run(runId) {
    const prefix = `flow:${runId}:`
    return {
      get: async (key) => {
        const text = this.#state.get(prefix + key)
        return text === undefined ? null : JSON.parse(text)
      },
      set: async (key, value) => {
        this.#state.set(prefix + key, JSON.stringify(value))
      },
    }
  }

  async deleteStream(stream) {
    this.#streams.delete(stream)
  }

  async close() {
    this.#streams.clear()
    this.#state.clear()
  }

  /** Time and a random part, as the original makes it: in memory it keeps the order by position. */
  #nextId() {
    return `${Date.now()}-${Math.random().toString(16).slice(2)}`
  }
}
