import { expect, test } from 'vitest'
import * as z from 'zod'
import { checkSchema, validate } from '../lib/schema.js'

const order = z.object({ id: z.string(), items: z.array(z.object({ cents: z.number() })), at: z.coerce.date() })

const standard = (judge: (value: unknown) => unknown) => ({
  '~standard': { version: 1, vendor: 'test', validate: judge },
})

test('gives the value that the schema makes of a payload', async () => {
  const payload = { id: 'a', items: [], at: '2025-11-05' }
  expect(await validate(order, payload)).toEqual({ value: { ...payload, at: new Date('2025-11-05') } })
  expect(await validate(z.unknown(), undefined)).toEqual({ value: undefined })
})

test('gives what is wrong with it, and where', async () => {
  const judged = await validate(order, { id: 5, items: [{ cents: 1 }, { cents: 'x' }], at: '2025-11-05' })
  expect(judged).toEqual({ issues: [expect.stringMatching(/^id: .+/), expect.stringMatching(/^items\.1\.cents: .+/)] })
  expect(await validate(order, 'nothing')).toEqual({ issues: [expect.stringMatching(/^Invalid input/)] })
  const own = standard(() => ({ issues: [{ message: 'no', path: [{ key: 'a' }, 0] }, { message: 'never' }] }))
  expect(await validate(own, 1)).toEqual({ issues: ['a.0: no', 'never'] })
})

test('waits for a schema that judges asynchronously', async () => {
  const even = z.number().refine(async (n) => n % 2 === 0, 'odd')
  expect(await validate(even, 2)).toEqual({ value: 2 })
  expect(await validate(even, 3)).toEqual({ issues: ['odd'] })
})

test('takes a schema that is a function', async () => {
  const schema = Object.assign(
    () => {},
    standard((value) => ({ value })),
  )
  checkSchema(schema, 'schema')
  expect(await validate(schema, 7)).toEqual({ value: 7 })
})

test('says so when the schema itself fails', async () => {
  const cause = new Error('boom')
  const failing = [
    standard(() => {
      throw cause
    }),
    standard(() => Promise.reject(cause)),
  ]
  for (const schema of failing) {
    await expect(validate(schema, 1)).rejects.toMatchObject({
      code: 'NQ_VALIDATION',
      message: 'The schema failed instead of judging the payload: boom',
      cause,
    })
  }
  await expect(
    validate(
      standard(() => undefined),
      1,
    ),
  ).rejects.toMatchObject({ code: 'NQ_VALIDATION' })
  await expect(
    validate(
      standard(() => Promise.reject(Object.create(null))),
      1,
    ),
  ).rejects.toMatchObject({
    code: 'NQ_VALIDATION',
  })
})

test.each([undefined, null, 5, 'string', {}, { '~standard': {} }, { validate() {} }, () => {}])(
  '%s is no schema',
  (bad) => {
    expect(() => checkSchema(bad, 'schema')).toThrow(
      expect.objectContaining({
        code: 'NQ_VALIDATION',
        message: expect.stringMatching(/^schema is .*Standard Schema/),
      }),
    )
  },
)
