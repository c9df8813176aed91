/** Each rule of test/architecture.test.ts, broken by made-up modules. */

// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the sources in here are text.

import { describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import {
  appviewNames,
  environmentReads,
  impureHandlers,
  longFiles,
  namesOf,
  processControl,
} from './code-rules.ts'
import {
  brokenLayers,
  hiddenImports,
  importCycles,
  librariesAwayFromHome,
  missingModules,
  undeclaredLibraries,
  unusedLibraries,
} from './import-rules.ts'
import { type SourceFile, sourceFile } from './source-file.ts'

/** Made-up modules, by path. */
function made(sources: Record<string, string>): SourceFile[] {
  return Object.entries(sources).map(([path, source]) => sourceFile(path, source))
}

describe('the rules can fail:', () => {
  test('layers', () => {
    const files = made({
      'src/pds/up.ts': "import type { A } from '../restore/a.ts'",
      'src/pds/sideways.ts': "export * from '../indexer/a.ts'",
      'src/firehose/sink.ts': "const a = await import('../indexer/a.ts')",
      'src/pds/down.ts': "import { b } from '../network/b.ts'\nimport { c } from './c.ts'",
      'src/cli/out.ts': "import { s } from '../../scripts/s.ts'",
      'src/stack/out.ts': "import { s } from '../../scripts/s.ts'",
      'src/cli/stack.ts': "import '../stack/index.ts'",
      'src/cli/config.ts': "import { c } from '../config.ts'",
      'src/config.ts': "import { c } from './cli/c.ts'",
      'src/index.ts': "export { serve } from './inngest/index.ts'",
      'src/elsewhere/a.ts': '',
    })
    expect(brokenLayers(files)).toEqual([
      'src/elsewhere/a.ts: elsewhere is in no layer',
      'src/pds/up.ts:1: pds imports restore',
      'src/pds/sideways.ts:1: pds imports indexer',
      'src/firehose/sink.ts:1: firehose imports indexer',
      'src/cli/out.ts:1: imports scripts/s.ts, outside src',
      'src/cli/stack.ts:1: cli imports stack',
      'src/config.ts:1: config imports cli',
    ])
  })

  test('cycles, of types and of a file with itself', () => {
    const files = made({
      'src/pds/b.ts': "import { c } from './c.ts'",
      'src/pds/c.ts': "import type { a } from './a.ts'",
      'src/pds/a.ts': "import { b } from './b.ts'\nimport { d } from './d.ts'",
      'src/pds/d.ts': "export type D = import('./d.ts').E",
    })
    expect(importCycles(files)).toEqual([
      'src/pds/a.ts -> src/pds/b.ts -> src/pds/c.ts -> src/pds/a.ts',
      'src/pds/d.ts -> src/pds/d.ts',
    ])
  })

  test('missing modules', () => {
    expect(missingModules(made({ 'src/pds/a.ts': "import { b } from './b.ts'" }))).toEqual([
      'src/pds/a.ts:1: no such module: src/pds/b.ts',
    ])
  })

  test('declared dependencies', () => {
    const files = made({
      'src/pds/a.ts':
        "import { a } from 'left-pad'\nimport { b } from 'dev/sub'\nimport { c } from '@run/time/sub'",
      'src/stack/a.ts': "import { b } from 'dev'\nimport { d } from 'used-by-the-stack'\nimport 'node:fs'",
    })
    const declared = { runtime: ['@run/time', 'used-by-the-stack'], development: ['dev'] }
    expect(undeclaredLibraries(files, declared)).toEqual([
      'src/pds/a.ts:1: left-pad is not in package.json',
      'src/pds/a.ts:2: dev is a development dependency',
    ])
    expect(unusedLibraries(files, declared)).toEqual(['used-by-the-stack is imported nowhere'])
  })

  test('createRequire', () => {
    const source = "import { createRequire } from 'node:module'"
    expect(hiddenImports(made({ 'src/pds/a.ts': source, 'src/stack/a.ts': source }))).toEqual([
      'src/pds/a.ts:1: imports node:module',
    ])
  })

  test('home folders', () => {
    const files = made({
      'src/pds/a.ts':
        "import { a } from 'at-home'\nimport { b } from '@net/work/sub'\nimport 'free'\nimport 'new'",
    })
    expect(
      librariesAwayFromHome(files, { 'at-home': 'pds', '@net/work': 'network', free: 'everywhere' }),
    ).toEqual(['src/pds/a.ts:2: @net/work belongs to network', 'src/pds/a.ts:4: new has no home folder'])
  })

  test('console, the end of the process, signals', () => {
    const source = [
      "console.log('a')",
      'globalThis.console.error(1)',
      'process.exit(1)',
      'process.exitCode = 1',
      "process.on('SIGINT', stop)",
      "process?.once('exit', stop)",
      'const said = { console: 1 }.console // console.log, process.exit()',
      'process.cwd()',
    ].join('\n')
    expect(processControl(made({ 'src/pds/a.ts': source, 'src/cli/a.ts': source }))).toEqual([
      'src/pds/a.ts:1: console.log',
      'src/pds/a.ts:2: globalThis.console.error',
      'src/pds/a.ts:3: process.exit',
      'src/pds/a.ts:4: process.exitCode',
      'src/pds/a.ts:5: process.on',
      'src/pds/a.ts:6: process.once',
    ])
    expect(processControl(made({ 'src/pds/a.ts': "import { exit } from 'node:process'" }))).toEqual([
      'src/pds/a.ts:1: imports node:process',
    ])
    expect(
      processControl(made({ 'src/a.ts': 'console.error(1)\nconsole.log(1)' }), {
        'src/a.ts': ['console.error'],
      }),
    ).toEqual(['src/a.ts:2: console.log'])
  })

  test('the environment', () => {
    const source = 'const a = process.env.A\nconst { B } = process.env'
    expect(environmentReads(made({ 'src/cli/a.ts': source, 'src/config.ts': source }))).toEqual([
      'src/cli/a.ts:1: process.env.A',
      'src/cli/a.ts:2: process.env',
    ])
  })

  test('pure handlers', () => {
    const files = made({
      'src/appview/a.ts': [
        'const now = Date.now()',
        'const day = new Date().toISOString()',
        'const then = new Date(text).toISOString()',
        'const id = Math.random() + crypto.randomUUID()',
        "await fetch('https://example.com')",
      ].join('\n'),
      'src/appview/reader.ts': "import { readExact } from '../database/exact.ts'",
      'src/appview/far.ts': "import { cid } from '../repo/cid.ts'",
      'src/repo/cid.ts': "import { readFile } from 'node:fs/promises'",
    })
    expect(impureHandlers(files)).toEqual([
      'src/appview/a.ts:1: Date.now',
      'src/appview/a.ts:4: Math.random',
      'src/appview/a.ts:4: crypto.randomUUID',
      'src/appview/a.ts:5: fetch',
      'src/appview/a.ts:2: new Date()',
      'src/appview/reader.ts: src/appview/reader.ts:1 imports ../database/exact.ts',
      'src/appview/far.ts: src/repo/cid.ts:1 imports node:fs/promises',
    ])
  })

  test("an appview's names", () => {
    const source = [
      '// documents_in_publications, site.standard.document',
      "const table = 'documents'",
      "const column = 'publications.uri'",
      "const message = 'The documents are back.'",
      'const query = `select * from documents where ${a}`',
      'row.documents_in_publications',
      "const nsid = 'site.standard.document#main'",
      "const built = `pub.leaflet.${'poll'}`",
      "section['recommendsOnDocuments']",
      'const documents = 1',
      "import { a } from '../appview/site.standard.document'",
    ].join('\n')
    const files = made({ 'src/pds/a.ts': source, 'src/appview/leaflet/a.ts': source })
    const found = appviewNames(files, namesOf(leaflet), (path) => path.startsWith('src/appview/leaflet/'))
    expect(found).toEqual([
      'src/pds/a.ts:2: names documents',
      'src/pds/a.ts:3: names publications',
      'src/pds/a.ts:5: names documents',
      'src/pds/a.ts:6: names documents_in_publications',
      'src/pds/a.ts:7: names site.standard.document',
      'src/pds/a.ts:7: names site.standard',
      'src/pds/a.ts:8: names pub.leaflet',
      'src/pds/a.ts:9: names recommendsOnDocuments',
    ])
  })

  test('the length of a file', () => {
    expect(longFiles(made({ 'src/a.ts': '1\n2\n3\n', 'src/b.ts': '1\n2\n' }), 2)).toEqual([
      'src/a.ts: 3 lines',
    ])
  })
})
