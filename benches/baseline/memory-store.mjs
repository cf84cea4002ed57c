// The baseline in memory: one array per stream, an asynchronous append that stamps id and time and
// wakes subscribers, and a Map of JSON texts for state.

export class BaselineMemoryStore {
  #streams = new Map()
  #handlers = new Map()
  #state = new Map()
  #lastMs = 0
  #sequence = 0

  async append(stream, event) {
    const record = { id: this.#nextId(), ts: new Date().toISOString(), subject: stream, ...event }
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

  #nextId() {
    const now = Date.now()
    this.#sequence = now === this.#lastMs ? this.#sequence + 1 : 0
    this.#lastMs = now
    return `${now}-${this.#sequence}`
  }
}
