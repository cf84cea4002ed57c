// @ts-check
/** JSON values, amounts and event payloads as short text. */

/**
 * A JSON value on one line, with numbers rounded to three decimals.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function valueText(value) {
  if (typeof value === 'number') return numberText(value)
  if (Array.isArray(value)) return value.map(nestedText).join(' ')
  if (isObject(value)) return fieldsText(value)
  return String(value)
}

/**
 * The fields of an object on one line: `train 105, heldOut 45`.
 *
 * @param {object} fields
 */
export function fieldsText(fields) {
  const parts = Object.entries(fields).map(([key, value]) => `${key} ${nestedText(value)}`)
  return parts.join(', ')
}

/**
 * What an event says, for the last column of a timeline.
 *
 * @param {import('nuxt-queue-core').EventRecord} event
 * @returns {string}
 */
export function eventText(event) {
  switch (event.type) {
    case 'state.set':
      return `${event.data.key} = ${valueText(event.data.value)}`
    case 'state.delete':
      return `${event.data.key} removed`
    case 'state.batch':
      return event.data.operations.map(operationText).join(' ')
    case 'log.debug':
    case 'log.info':
    case 'log.warn':
    case 'log.error':
      return event.data.message
    case 'flow.started':
      return valueText(event.data.input ?? '')
    case 'flow.completed':
    case 'flow.step.completed':
      return valueText(event.data.result ?? '')
    case 'flow.step.started':
      return event.workerId ? `by ${event.workerId}` : ''
    case 'flow.stalled':
      return event.data.reason ?? ''
    case 'flow.step.paused':
    case 'flow.step.resumed':
      return event.data.awaitId
    case 'emit':
      return emitText(event.data)
    case 'trigger.awaiting':
      return `${event.triggerName}${event.data.deadline ? `, until ${event.data.deadline}` : ''}`
    case 'trigger.fired':
      return `${event.triggerName}: ${valueText(event.data.data ?? event.data.payload ?? '')}`
    default:
      return isObject(event.data) ? Object.values(event.data).map(valueText).join(' ') : ''
  }
}

/**
 * The members of a payload stand beside the name, or the payload as a whole does.
 *
 * @param {import('nuxt-queue-core').EventMap['emit']} data
 */
function emitText({ name, payload, ...members }) {
  const text = valueText(payload ?? members)
  return text === '' ? name : `${name}: ${text}`
}

/** @param {number} milliseconds */
export function durationText(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`
}

/** @param {number} amount */
export function countText(amount) {
  return Math.round(amount).toLocaleString('en-US')
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @param {number} value */
function numberText(value) {
  const rounded = Number(value.toFixed(3))
  return rounded === 0 && value !== 0 ? value.toPrecision(2) : String(rounded)
}

/** @param {unknown} value */
function nestedText(value) {
  return isObject(value) || Array.isArray(value) ? `(${valueText(value)})` : valueText(value)
}

/** @param {import('nuxt-queue-core').EventMap['state.batch']['operations'][number]} operation */
function operationText(operation) {
  return operation.type === 'set' ? `${operation.key} ${nestedText(operation.value)}` : `${operation.key} removed`
}
