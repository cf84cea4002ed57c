/** Who may look at runs and act on them: here whoever placed an order in this browser. An app asks its own session. */
export default defineNitroPlugin((nitroApp) => {
  nitroApp.hooks.hook('queue:authorize', (event, access) => {
    if (getCookie(event, 'role') === 'manager') access.allowed = true
  })
})
