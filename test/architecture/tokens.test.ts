// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the sources in here are text.

import { describe, expect, test } from 'vitest'
import { sourceFile } from './source-file.ts'
import { tokensOf } from './tokens.ts'

describe('the scanner', () => {
  const textsOf = (source: string): string[] =>
    tokensOf(source)
      .filter(({ kind }) => kind === 'string' || kind === 'template')
      .map(({ text }) => text)

  test('tells strings from comments, regular expressions and divisions', () => {
    expect(textsOf(`a = 'b' // 'no'\n/* "no" */ c = "d\\"e"`)).toEqual(['b', 'd\\"e'])
    expect(textsOf(`x.replace(/['"/\\/]+/g, 'y'); return /'/.test('z')`)).toEqual(['y', 'z'])
    expect(textsOf(`a / b; c = 'd' / 2; (e) / 3 / 'f'`)).toEqual(['d', 'f'])
  })

  test('follows templates into their substitutions and out again', () => {
    expect(textsOf("`a${f({ b: 'c' })}d${`e${g}f`}h`; 'i'")).toEqual(['a', 'c', 'd', 'e', 'f', 'h', 'i'])
  })

  test('does not take a name before the rest of a template for an import', () => {
    expect(sourceFile('src/a.ts', 'say(`${from}./b.ts`)').imports).toEqual([])
  })

  test('counts lines through comments and texts of several lines', () => {
    const source = '#!/usr/bin/env node\n/*\n*/ a\n`\n${b}\n`; c'
    expect(tokensOf(source).filter(({ kind }) => kind === 'word')).toEqual([
      { kind: 'word', text: 'a', line: 3 },
      { kind: 'word', text: 'b', line: 5 },
      { kind: 'word', text: 'c', line: 6 },
    ])
  })

  test('does not go on past what it cannot read', () => {
    expect(() => tokensOf("a = 'b\n")).toThrow('Line 1: a string without an end.')
    expect(() => tokensOf('a = `b')).toThrow('Line 1: a template without an end.')
  })
})
