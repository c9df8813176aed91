import { describe, expect, test } from 'vitest'
import { missingScopes, restoreScope } from '../../../../src/pds/sessions/scopes.ts'

const A = 'site.standard.document'
const B = 'site.standard.publication'
const needs = { collections: [A, B], blobs: true }

describe('what a login asks for', () => {
  test('names each collection once, and covers its own needs', () => {
    expect(restoreScope([B, A, B])).toBe(`atproto repo?collection=${A}&collection=${B} blob:*/*`)
    expect(missingScopes(restoreScope([A, B]), needs)).toEqual([])
  })
})

describe('what a session lacks', () => {
  test.each([
    ['atproto', [`repo:${A}`, `repo:${B}`, 'blob:*/*']],
    ['atproto transition:generic', []],
    ['atproto repo:* blob:*/*', []],
    [`atproto repo:${A} blob:*/*`, [`repo:${B}`]],
    [`atproto repo:${A}?action=create&action=update repo:${B} blob?accept=*/*`, []],
    [`atproto repo:${A}?action=create repo:${B} blob:*/*`, [`repo:${A}`]],
    // Two scopes may share the actions between them.
    [`atproto repo:${A}?action=create repo:*?action=update repo:${B} blob:*/*`, []],
    [`atproto repo:${A} repo:${B} blob:image/*`, ['blob:*/*']],
    [`atproto repo:${A}.more repo:${B} blob:*/*`, [`repo:${A}`]],
    ['atproto transition:email', [`repo:${A}`, `repo:${B}`, 'blob:*/*']],
    // What a permission set holds, only its host knows.
    ['atproto include:app.example.full', []],
  ])('%s', (granted, missing) => {
    expect(missingScopes(granted, needs)).toEqual(missing)
  })

  test('is nothing where nothing is needed', () => {
    expect(missingScopes('atproto', {})).toEqual([])
    expect(missingScopes('atproto', { collections: [A] })).toEqual([`repo:${A}`])
  })
})
