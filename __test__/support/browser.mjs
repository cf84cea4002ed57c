// A browser without its types, which need those of the DOM.

import { chromium } from 'playwright-core'

/** Starts the browser that is installed. */
export const launch = (executablePath) => chromium.launch({ executablePath, args: ['--no-sandbox'] })
