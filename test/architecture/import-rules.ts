/** Who may import whom. Each rule takes the files and returns what breaks it, one line each. */

import type { SourceFile } from './source-file.ts'

/** design.md's layers: a folder imports from lower layers only. */
const LAYERS: readonly (readonly string[])[] = [
  ['errors', 'logger', 'events', 'version'],
  ['network', 'database', 'repo', 'lexicons'],
  ['appview', 'backup', 'pds', 'indexer'],
  ['firehose', 'reconcile', 'report'],
  ['restore'],
  ['inngest', 'index'],
  ['config', 'cli'],
  ['stack'],
]
const STACK_LAYER = LAYERS.length - 1

/** Within one layer, and why. */
const SIDEWAYS: Record<string, string> = {
  'index -> inngest': "the library's face names the functions that an app of one's own mounts",
  'cli -> config': 'the commands read their settings',
}
/** Downwards, and still not allowed. */
const APART: Record<string, string> = {
  'firehose -> indexer': 'it delivers to any EventSink',
  'firehose -> appview': 'it delivers to any EventSink',
}

const layerOf = (folder: string): number => LAYERS.findIndex((layer) => layer.includes(folder))

export function brokenLayers(files: readonly SourceFile[]): string[] {
  const unknown = files
    .filter(({ folder }) => layerOf(folder) === -1)
    .map(({ path, folder }) => `${path}: ${folder} is in no layer`)
  return unknown.concat(
    eachImport(files, (file, { path, line }) => {
      if (path === undefined) return undefined
      const to = path.startsWith('src/') ? /^src\/([^/.]+)/.exec(path)?.[1] : undefined
      if (to === undefined) {
        return layerOf(file.folder) === STACK_LAYER
          ? undefined
          : `${file.path}:${line}: imports ${path}, outside src`
      }
      return mayImport(file.folder, to) ? undefined : `${file.path}:${line}: ${file.folder} imports ${to}`
    }),
  )
}

function mayImport(from: string, to: string): boolean {
  if (from === to) return true
  const edge = `${from} -> ${to}`
  if (edge in APART) return false
  return layerOf(to) < layerOf(from) || edge in SIDEWAYS
}

/** Cycles among files, types included; each once, written from its first path in the alphabet. */
export function importCycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const finished = new Set<string>()
  const cycles = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start !== -1) {
      cycles.add(cycleText(trail.slice(start)))
      return
    }
    if (finished.has(path)) return
    for (const { path: next } of byPath.get(path)?.imports ?? []) {
      if (next !== undefined) visit(next, [...trail, path])
    }
    finished.add(path)
  }
  for (const path of byPath.keys()) visit(path, [])
  return [...cycles]
}

function cycleText(cycle: readonly string[]): string {
  const first = cycle.indexOf([...cycle].sort()[0] ?? '')
  const turned = [...cycle.slice(first), ...cycle.slice(0, first)]
  return [...turned, turned[0]].join(' -> ')
}

/** Relative imports of files that are not there: a rule that follows imports must not lose its way in silence. */
export function missingModules(files: readonly SourceFile[]): string[] {
  const paths = new Set(files.map(({ path }) => path))
  return eachImport(files, (file, { path, line }) =>
    path?.startsWith('src/') && !paths.has(path)
      ? `${file.path}:${line}: no such module: ${path}`
      : undefined,
  )
}

export interface Dependencies {
  runtime: readonly string[]
  development: readonly string[]
}

/** What is imported is declared; what the tool needs is no development dependency. */
export function undeclaredLibraries(files: readonly SourceFile[], dependencies: Dependencies): string[] {
  return eachImport(files, (file, { library, line }) => {
    if (library === undefined || library.startsWith('node:') || dependencies.runtime.includes(library))
      return undefined
    if (!dependencies.development.includes(library))
      return `${file.path}:${line}: ${library} is not in package.json`
    if (layerOf(file.folder) === STACK_LAYER) return undefined
    return `${file.path}:${line}: ${library} is a development dependency`
  })
}

/**
 * Libraries are imported in their home folder only, so that replacing one touches one folder.
 *
 * @param homes the home folder of each library, or `everywhere` with the reason in the list itself
 */
export function librariesAwayFromHome(
  files: readonly SourceFile[],
  homes: Readonly<Record<string, string>>,
): string[] {
  return eachImport(files, (file, { library, line }) => {
    if (library === undefined || library.startsWith('node:')) return undefined
    const home = homes[library]
    if (home === undefined) return `${file.path}:${line}: ${library} has no home folder`
    if (home === 'everywhere' || home === file.folder) return undefined
    return `${file.path}:${line}: ${library} belongs to ${home}`
  })
}

/** `createRequire` would import unseen by these rules. The stack reaches into packages that it embeds. */
export function hiddenImports(files: readonly SourceFile[]): string[] {
  return eachImport(files, (file, { library, line }) =>
    library === 'node:module' && layerOf(file.folder) !== STACK_LAYER
      ? `${file.path}:${line}: imports node:module`
      : undefined,
  )
}

/** Declared for the tool, imported nowhere in it: users would install it for nothing. */
export function unusedLibraries(files: readonly SourceFile[], { runtime }: Dependencies): string[] {
  const used = new Set(
    files
      .filter(({ folder }) => layerOf(folder) < STACK_LAYER)
      .flatMap(({ imports }) => imports.map(({ library }) => library)),
  )
  return runtime.filter((library) => !used.has(library)).map((library) => `${library} is imported nowhere`)
}

function eachImport(
  files: readonly SourceFile[],
  check: (file: SourceFile, found: SourceFile['imports'][number]) => string | undefined,
): string[] {
  return files.flatMap((file) =>
    file.imports.map((found) => check(file, found)).filter((text) => text !== undefined),
  )
}
