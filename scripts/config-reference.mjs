/** Writes docs/configuration.md from the declarations: `node scripts/config-reference.mjs`. `npm run build` comes before. */

import { writeFileSync } from 'node:fs'
import { configReference, referenceFile } from './lib/config-reference.mjs'

writeFileSync(referenceFile, await configReference())
