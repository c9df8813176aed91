/** Debian's Chromium for tests. */

import { existsSync } from 'node:fs'

export const CHROMIUM = '/usr/bin/chromium'
export const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
export const hasChromium = existsSync(CHROMIUM)

/** The name of a suite that needs a browser; without one it says how to get it. */
export function browserTitle(title: string): string {
  return hasChromium
    ? title
    : `${title} (skipped: there is no ${CHROMIUM}; "apt-get install chromium" brings it)`
}
