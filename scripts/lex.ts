/**
 * Generates src/lexicons from lexicons/ and marks the generated files `@ts-nocheck`.
 *
 * `lex build` writes code that does not compile under exactOptionalPropertyTypes (its schema types say
 * `field?: T | undefined` where its record types say `field?: T`), and a generated file cannot be given compiler
 * options of its own. The types it exports are still checked where our code uses them.
 */

import { execFileSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'

const OUT = 'src/lexicons'
const flags = ['--lexicons', 'lexicons', '--out', OUT, '--import-ext', '.ts', '--index-file', '--clear']
execFileSync('npx', ['--no-install', 'lex', 'build', ...flags], { stdio: 'inherit' })
for (const file of globSync(`${OUT}/**/*.defs.ts`)) {
  writeFileSync(file, `// @ts-nocheck\n${readFileSync(file, 'utf8')}`)
}
