import { posix } from 'node:path'
import { type Token, tokensOf } from './tokens.ts'

/** A module of src, as the rules see it. */
export interface SourceFile {
  /** Relative to the repository, with slashes: `src/pds/plan.ts`. */
  path: string
  /** Its place in the layer table: the folder below src, or the module's name. */
  folder: string
  lineCount: number
  tokens: readonly Token[]
  imports: readonly Import[]
}

export interface Import {
  specifier: string
  line: number
  /** Path of the module named by a relative specifier. */
  path: string | undefined
  /** Package (or `node:` module) named by any other specifier, without its subpath. */
  library: string | undefined
}

export function sourceFile(path: string, source: string): SourceFile {
  const tokens = tokensOf(source)
  return {
    path,
    folder: folderOf(path),
    lineCount: source.trimEnd().split('\n').length,
    tokens,
    imports: importsOf(path, tokens),
  }
}

/** `src/pds/plan.ts` -> `pds`, `src/config.ts` -> `config`, outside src the path itself. */
export function folderOf(path: string): string {
  return /^src\/([^/.]+)/.exec(path)?.[1] ?? path
}

/** Every module named by import, export ... from, import() and import types. */
function importsOf(path: string, tokens: readonly Token[]): Import[] {
  const found: Import[] = []
  tokens.forEach((token, index) => {
    if (token.kind !== 'string') return
    const before = tokens[index - 1]?.text
    const named = before === 'from' || before === 'import'
    const called = before === '(' && tokens[index - 2]?.text === 'import'
    if (named || called) found.push(importOf(path, token))
  })
  return found
}

function importOf(from: string, { text, line }: Token): Import {
  const isRelative = text.startsWith('.')
  return {
    specifier: text,
    line,
    path: isRelative ? posix.join(posix.dirname(from), text) : undefined,
    library: isRelative ? undefined : libraryOf(text),
  }
}

function libraryOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
