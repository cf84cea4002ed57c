// How the original lays out an event in a Redis stream entry, and reads it back.

/**
 * The fields of an entry, as name and text in turn.
 *
 * @param {object} event
 * @param {string} ts ISO 8601 instant of the write
 * @returns {string[]}
 */
export function toFields(event, ts) {
  const fields = [
    'type',
    event.type,
    'runId',
    event.runId ?? '',
    'flowName',
    event.flowName ?? '',
    'data',
    event.data === undefined ? '' : JSON.stringify(event.data),
    'ts',
    ts,
  ]
  if (event.stepName) fields.push('stepName', event.stepName)
  if (event.stepId) fields.push('stepId', event.stepId)
  if (event.attempt !== undefined) fields.push('attempt', String(event.attempt))
  return fields
}

/**
 * One `[id, [name, text, …]]` entry as the original's record.
 *
 * @param {[string, string[]]} entry
 * @returns {object} `{ id, ts, type, runId, flowName, stepName?, stepId?, attempt?, data? }`
 */
export function toRecord([id, pairs]) {
  const fields = {}
  for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1]
  const record = {
    id,
    ts: fields.ts,
    type: fields.type,
    runId: fields.runId,
    flowName: fields.flowName,
  }
  if (fields.stepName) record.stepName = fields.stepName
  if (fields.stepId) record.stepId = fields.stepId
  if (fields.attempt) record.attempt = Number(fields.attempt)
  if (fields.data) record.data = JSON.parse(fields.data)
  return record
}
