/**
 * A scanner for the TypeScript of this repository: enough to tell code from comments and text. Written here because
 * TypeScript 7 offers its own only as `unstable/ast`.
 */

export interface Token {
  /** `string` and `template` (a stretch of one, between its substitutions) have their text without the quotes. */
  kind: 'word' | 'string' | 'template' | 'regexp' | 'mark'
  text: string
  line: number
}

const SPACE = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y
const WORD = /[\p{ID_Start}$_#@][\p{ID_Continue}$]*/uy
const NUMBER = /\d[\w.]*/y
const STRING = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y
const TEMPLATE_PART = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y
const REGEXP = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y

/** After these words a slash starts a regular expression; after any other word it divides. */
const BEFORE_REGEXP = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'await',
  'yield',
  'void',
  'new',
  'else',
])

/** @throws SyntaxError where the text is none of the above, so that nothing is left out in silence */
export function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  /** What each open brace belongs to: true when its end goes on with a template. */
  const braces: boolean[] = []
  let at = 0
  let line = 1

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(source)?.[0]
    if (found === undefined) return undefined
    at += found.length
    return found
  }
  const push = (kind: Token['kind'], text: string, taken = text): void => {
    tokens.push({ kind, text, line })
    line += taken.split('\n').length - 1
  }
  const takeTemplatePart = (): void => {
    push('template', take(TEMPLATE_PART) ?? '')
    if (source[at] === '`') at += 1
    else if (source.startsWith('${', at)) {
      at += 2
      braces.push(true)
    } else throw new SyntaxError(`Line ${line}: a template without an end.`)
  }
  const slashIsRegExp = (): boolean => {
    const last = tokens.at(-1)
    if (last === undefined) return true
    if (last.kind === 'word') return BEFORE_REGEXP.has(last.text)
    return last.kind === 'mark' && ![')', ']', '}'].includes(last.text) && !/^\d/.test(last.text)
  }

  if (source.startsWith('#!')) at = source.indexOf('\n')
  while (at < source.length) {
    const space = take(SPACE)
    if (space !== undefined) {
      line += space.split('\n').length - 1
      continue
    }
    const word = take(WORD)
    if (word !== undefined) {
      push('word', word)
      continue
    }
    const string = take(STRING)
    if (string !== undefined) {
      push('string', string.slice(1, -1), string)
      continue
    }
    const regexp = source[at] === '/' && slashIsRegExp() ? take(REGEXP) : undefined
    if (regexp !== undefined) {
      push('regexp', regexp)
      continue
    }
    const number = take(NUMBER)
    if (number !== undefined) {
      push('mark', number)
      continue
    }
    const mark = source[at] ?? ''
    if (mark === "'" || mark === '"') throw new SyntaxError(`Line ${line}: a string without an end.`)
    at += 1
    if (mark === '`') {
      takeTemplatePart()
      continue
    }
    if (mark === '{') braces.push(false)
    if (mark === '}' && braces.pop() === true) {
      takeTemplatePart()
      continue
    }
    push('mark', mark)
  }
  return tokens
}
