/** What code may name where. Each rule takes the files and returns what breaks it, one line each. */

import type { AppView } from '../../src/events.ts'
import type { SourceFile } from './source-file.ts'
import type { Token } from './tokens.ts'

/** A dotted name in the code, as `console.error` or `process.exit`, and where it stands. */
interface Name {
  text: string
  line: number
  /** The token after it. */
  next: Token | undefined
  before: Token | undefined
}

/** What only cli (and scripts) may do: talk to a terminal, end the process, listen to its signals. */
const PROCESS_CONTROL = /^process\.(exit|exitCode|abort|kill|on|once|addListener|prependListener)$/

export type Allowed = Readonly<Record<string, readonly string[]>>

/**
 * @param allowed by path, what a module outside cli uses all the same, as `console.error`
 */
export function processControl(files: readonly SourceFile[], allowed: Allowed = {}): string[] {
  return eachName(
    files.filter(({ folder }) => folder !== 'cli'),
    ({ path }, { text }) => {
      const short = text.replace(/^globalThis\./, '')
      if (!/^console(\.|$)/.test(short) && !PROCESS_CONTROL.test(short)) return false
      return !(allowed[path] ?? []).includes(short)
    },
  ).concat(importsOfProcess(files))
}

/** process.env is read in one file, where it becomes Config by a pure function. */
export function environmentReads(files: readonly SourceFile[]): string[] {
  return eachName(
    files.filter(({ path }) => path !== 'src/config.ts'),
    (_file, { text }) => /^(globalThis\.)?(process|import\.meta)\.env(\.|$)/.test(text),
  )
}

/** By import, `exit` or `env` would be a bare name that the rules above cannot see. */
function importsOfProcess(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, imports }) =>
    imports
      .filter(
        ({ library }) => library === 'node:process' || library === 'process' || library === 'node:console',
      )
      .map(({ line, specifier }) => `${path}:${line}: imports ${specifier}`),
  )
}

const IMPURE = new Set([
  'Date.now',
  'Math.random',
  'performance.now',
  'fetch',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
])
const IMPURE_ROOTS = /^(globalThis\.)?(process|crypto|Temporal|WebSocket)(\.|$)/

/** Handlers are pure: the same record gives the same rows, at any time and on any machine. */
export function impureHandlers(files: readonly SourceFile[]): string[] {
  const handlers = files.filter(({ folder }) => folder === 'appview')
  return eachName(handlers, (_file, { text, next, before }) => {
    const short = text.replace(/^globalThis\./, '')
    const isNow = short === 'Date' && next?.text === '(' && before?.text !== 'new'
    return IMPURE.has(short) || IMPURE_ROOTS.test(text) || isNow
  })
    .concat(handlers.flatMap(clockReads))
    .concat(handlers.flatMap((file) => impureImports(file, files)))
}

/** `new Date()` and `new Date`, which read the clock; `new Date(text)` does not. */
function clockReads({ path, tokens }: SourceFile): string[] {
  return tokens.flatMap((token, index) => {
    if (token.text !== 'Date' || token.kind !== 'word' || tokens[index - 1]?.text !== 'new') return []
    const hasArgument = tokens[index + 1]?.text === '(' && tokens[index + 2]?.text !== ')'
    return hasArgument ? [] : [`${path}:${token.line}: new Date()`]
  })
}

const NO_IO_LIBRARIES = ['@atproto/lex', '@atproto/syntax', 'zod']

/** Followed through all that a handler imports, types left in: a handler needs none from there either. */
function impureImports(file: SourceFile, files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((each) => [each.path, each]))
  const seen = new Set<string>()
  const broken: string[] = []
  const visit = (current: SourceFile): void => {
    if (seen.has(current.path)) return
    seen.add(current.path)
    for (const { library, path, specifier, line } of current.imports) {
      const isLibrary = library !== undefined && !NO_IO_LIBRARIES.includes(library)
      const isFolder = path !== undefined && /^src\/(network|database)\//.test(path)
      if (isLibrary || isFolder) broken.push(`${file.path}: ${current.path}:${line} imports ${specifier}`)
      const next = path === undefined ? undefined : byPath.get(path)
      if (next !== undefined) visit(next)
    }
  }
  visit(file)
  return broken
}

/** Every name that belongs to one appview, from its description. */
export interface AppViewNames {
  /** Nobody writes these by chance: `documents_in_publications`, `site.standard.document`. */
  distinctive: readonly string[]
  /** Words that English uses as well: `documents`. */
  plain: readonly string[]
}

export function namesOf(appview: AppView): AppViewNames {
  const tables = [
    ...appview.handlers.flatMap(({ derives }) => derives.map(({ table }) => table)),
    ...appview.roots.map(({ table }) => table),
    ...Object.keys(appview.sections),
    ...appview.sensitiveColumns.map((column) => column.split('.')[0] ?? ''),
    ...appview.untouchableTables,
    ...appview.guardTables,
  ]
  const sections = [...appview.roots.map(({ section }) => section), ...Object.values(appview.sections)]
  const collections = appview.handlers.map(({ collection }) => collection)
  // The authority of an NSID, as `pub.leaflet`: a collection may be put together from it.
  const authorities = collections.map((collection) => collection.split('.').slice(0, 2).join('.'))
  const all = [...new Set([...tables, ...sections, ...collections, ...authorities])].filter(
    (name) => name !== '',
  )
  const isPlain = (name: string): boolean => /^[a-z]+$/.test(name)
  return { distinctive: all.filter((name) => !isPlain(name)), plain: all.filter(isPlain) }
}

/** A plain word counts only where it must be a name: alone in its quotes, before a column, or after an SQL verb. */
function naming(word: string): RegExp {
  return new RegExp(
    `^${word}$|^${word}\\.\\w|\\.${word}$|\\b(?:from|join|into|update|table)\\s+(?:public\\.)?${word}\\b`,
    'i',
  )
}

/** Tables, sections and collections of an appview, named where any appview must do. Comments do not count. */
export function appviewNames(
  files: readonly SourceFile[],
  names: AppViewNames,
  isExempt: (path: string) => boolean,
): string[] {
  const distinctive = names.distinctive.map((name) => ({
    name,
    pattern: new RegExp(`(?<![\\w-])${name.replaceAll('.', '\\.')}(?![\\w-])`),
  }))
  const plain = names.plain.map((name) => ({ name, pattern: naming(name) }))
  return files
    .filter(({ path }) => !isExempt(path))
    .flatMap(({ path, tokens, imports }) =>
      tokens
        .filter((token) => token.kind !== 'mark' && !isSpecifier(token, imports))
        .flatMap((token) => {
          const patterns = isText(token) ? [...distinctive, ...plain] : distinctive
          return patterns
            .filter(({ pattern }) => pattern.test(token.text))
            .map(({ name }) => `${path}:${token.line}: names ${name}`)
        }),
    )
}

const isText = ({ kind }: Token): boolean => kind === 'string' || kind === 'template'

/** A module's path is judged by the layers. */
function isSpecifier(token: Token, imports: SourceFile['imports']): boolean {
  return imports.some(
    ({ specifier, line }) => token.kind === 'string' && token.text === specifier && token.line === line,
  )
}

export function longFiles(files: readonly SourceFile[], maxLines: number): string[] {
  return files
    .filter(({ lineCount }) => lineCount > maxLines)
    .map(({ path, lineCount }) => `${path}: ${lineCount} lines`)
}

function eachName(
  files: readonly SourceFile[],
  isBroken: (file: SourceFile, name: Name) => boolean,
): string[] {
  return files.flatMap((file) =>
    namesIn(file.tokens)
      .filter((name) => isBroken(file, name))
      .map(({ text, line }) => `${file.path}:${line}: ${text}`),
  )
}

/** `a.b.c` as one name, also written `a?.b`; a property of something else than a name is left out. */
function namesIn(tokens: readonly Token[]): Name[] {
  const names: Name[] = []
  for (let index = 0; index < tokens.length; index += 1) {
    const token = tokens[index]
    if (token?.kind !== 'word') continue
    const before = tokens[index - 1]
    const parts = [token.text]
    while (true) {
      const dot = tokens[index + 1]?.text === '?' && tokens[index + 2]?.text === '.' ? 2 : 1
      const property = tokens[index + dot + 1]
      if (tokens[index + dot]?.text !== '.' || property?.kind !== 'word') break
      parts.push(property.text)
      index += dot + 1
    }
    const next = tokens[index + 1]
    const isProperty = before?.text === '.' || next?.text === ':'
    if (!isProperty) names.push({ text: parts.join('.'), line: token.line, next, before })
  }
  return names
}
