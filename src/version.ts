import { readFileSync } from 'node:fs'

/** Version of this package, from its manifest: one folder up, in a checkout as in an installed package. */
export const version: string = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
).version
