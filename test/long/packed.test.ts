/** What a user installs: the tarball of `npm pack`, in a project of its own. Needs the package registry. */

import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')
const NODE_FOLDER = dirname(process.execPath)

const folder = mkdtempSync(join(tmpdir(), 'firehose-replay-packed-'))
const checkout = join(folder, 'checkout')
const project = join(folder, 'project')
const installed = join(project, 'node_modules', 'firehose-replay')

/** Without the npm_* variables that `npm run` sets: they would stand above the project's own settings. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) && name !== 'NODE_OPTIONS'),
)

function run(cwd: string, command: string, ...args: string[]): SpawnSyncReturns<string> {
  const PATH = `${NODE_FOLDER}:${process.env.PATH ?? ''}`
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...environment, PATH } })
}

function succeed(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = run(cwd, command, ...args)
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`)
  return stdout
}

const manifestOf = (place: string): string => readFileSync(join(place, 'package.json'), 'utf8')

/** A copy, because packing rewrites package.json and src/lexicons under the feet of whoever reads them. */
function copyCheckout(): void {
  const leftOut = new Set(['.git', 'node_modules', 'dist'])
  cpSync(ROOT, checkout, {
    recursive: true,
    filter: (path) => !leftOut.has(path.slice(ROOT.length + 1)) && !path.endsWith('.tgz'),
  })
  symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'))
}

const pack = (): string => join(checkout, JSON.parse(succeed(checkout, 'npm', 'pack', '--json'))[0].filename)

let manifest = ''

beforeAll(() => {
  copyCheckout()
  manifest = manifestOf(checkout)
  // As in a fresh clone that was installed without scripts: the build generates what it needs.
  rmSync(join(checkout, 'src', 'lexicons'), { recursive: true, force: true })
  const tarball = pack()
  cpSync(join(import.meta.dirname, 'consumer'), project, { recursive: true })
  // Another ending in the checkout: there is no package of that name to compile it against there.
  renameSync(join(project, 'consumer.ts.txt'), join(project, 'consumer.ts'))
  succeed(
    project,
    'npm',
    'install',
    '--ignore-scripts',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    tarball,
  )
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the checkout', () => {
  test('has its own manifest again', () => {
    expect(manifestOf(checkout)).toBe(manifest)
    expect(existsSync(join(checkout, 'package.json.checkout'))).toBe(false)
  })

  test('is repaired by the next run when packing was interrupted', () => {
    succeed(checkout, 'node', 'scripts/packed-manifest.ts', 'strip')
    expect(manifestOf(checkout)).not.toBe(manifest)
    pack()
    expect(manifestOf(checkout)).toBe(manifest)
  })

  test('loses nothing when its manifest was edited after an interruption', () => {
    succeed(checkout, 'node', 'scripts/packed-manifest.ts', 'strip')
    const edited = manifestOf(checkout).replace('"license"', '"licence"')
    writeFileSync(join(checkout, 'package.json'), edited)
    const { status, stderr } = run(checkout, 'node', 'scripts/packed-manifest.ts', 'restore')
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('package.json.checkout'),
    })
    expect(manifestOf(checkout)).toBe(edited)
    writeFileSync(join(checkout, 'package.json'), manifest)
    succeed(checkout, 'node', 'scripts/packed-manifest.ts', 'restore')
    expect(manifestOf(checkout)).toBe(manifest)
  })

  test('is not published by mistake with the manifest for development', () => {
    const { status, stderr } = run(checkout, 'npm', 'publish', '--dry-run')
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('Publish the tarball') })
  })
})

describe('the package', () => {
  test('holds the tool, the lexicons and our migration, and nothing else', () => {
    const files = globSync('**/*', { cwd: installed, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
      .filter((path) => !path.startsWith('node_modules/'))
    const besides = files.filter((path) => !/^dist\/.*\.(js|d\.ts)$|^lexicons\/.*\.json$/.test(path))
    expect(besides.filter((path) => !/^(README\.md|LICENSE)$/.test(path)).sort()).toEqual([
      'package.json',
      expect.stringMatching(/^supabase\/migrations\/\d+_firehose_replay\.sql$/),
    ])
    expect(files).toContain('dist/index.js')
    expect(files.filter((path) => path.startsWith('dist/stack/'))).toEqual([])
    expect(files.includes('README.md')).toBe(existsSync(join(ROOT, 'README.md')))
  })

  test('asks for what the tool needs, and for no Node', () => {
    const packed = JSON.parse(manifestOf(installed))
    expect(packed.dependencies).toEqual(JSON.parse(manifest).dependencies)
    expect(packed).not.toHaveProperty('optionalDependencies')
    expect(packed).not.toHaveProperty('devDependencies')
    expect(packed).not.toHaveProperty('allowScripts')
    expect(globSync('node_modules/{node,node-{linux,darwin,win}-*}', { cwd: project })).toEqual([])
    expect(existsSync(join(project, 'node_modules', '.bin', 'node'))).toBe(false)
  })

  test('says its version and its commands', () => {
    expect(succeed(project, 'npx', '--no-install', 'firehose-replay', '--version').trim()).toBe(
      JSON.parse(manifest).version,
    )
    expect(succeed(project, 'npx', '--no-install', 'firehose-replay', '--help')).toMatch(
      /restore[\s\S]*Exit codes:/,
    )
  })

  test('is a library with types', () => {
    succeed(project, join(ROOT, 'node_modules', '.bin', 'tsc'), '--project', 'tsconfig.json')
    expect(succeed(project, 'node', 'consumer.ts').trim()).toBe('leaflet 75')
  })
})

/** The Nodes of this machine that are older than the tool wants, found as a shell would. */
function olderNodes(): string[] {
  const candidates = (process.env.PATH ?? '').split(':').map((place) => join(place, 'node'))
  return candidates.filter((path) =>
    /^v(1\d|20)\./.test(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? ''),
  )
}

describe('on an older Node', () => {
  const MESSAGE =
    /^firehose-replay needs Node 22\.18 or newer; this is v[\d.]+\.\nInstall a current Node.*\n$/
  const bin = join(installed, 'dist', 'cli', 'main.js')
  const [older] = olderNodes()

  test('the bin says what it needs, and ends with code 2', (context) => {
    if (older === undefined) return context.skip('no Node 20 or older in PATH')
    const { status, stdout, stderr } = run(project, older, bin, '--version')
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(MESSAGE),
    })
  })

  test('which holds for a Node 22 from before type stripping', () => {
    // Pretended: the check reads process.versions before anything else is loaded.
    const pretend = join(folder, 'pretend.cjs')
    writeFileSync(pretend, "Object.defineProperty(process.versions, 'node', { value: '22.17.1' })\n")
    const { status, stderr } = run(project, 'node', '--require', pretend, bin, '--version')
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(MESSAGE) })
  })
})
