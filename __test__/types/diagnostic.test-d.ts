// Diagnostics.
import { expectTypeOf } from 'expect-type'
import { type Diagnostic, type DiagnosticLevel, onDiagnostic } from 'nuxt-queue-core'

const stop = onDiagnostic((diagnostic) => {
  expectTypeOf(diagnostic).toEqualTypeOf<Diagnostic>()
  expectTypeOf(diagnostic.level).toEqualTypeOf<DiagnosticLevel>()
  expectTypeOf(diagnostic.fields).toEqualTypeOf<Record<string, unknown>>()
  console[diagnostic.level](diagnostic.timestamp, diagnostic.target, diagnostic.message)
})
expectTypeOf(stop).toEqualTypeOf<() => void>()
onDiagnostic(console.log, { level: 'trace' })
// @ts-expect-error a callback is a function
onDiagnostic({ log() {} })
// @ts-expect-error a callback that is not there gets nothing
onDiagnostic(() => {}, { level: 'off' })
// @ts-expect-error a misspelt option
onDiagnostic(() => {}, { minLevel: 'info' })
