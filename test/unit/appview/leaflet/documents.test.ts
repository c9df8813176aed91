import { describe, expect, test } from 'vitest'
import { DOCUMENTS, LINKS } from '../../../../src/appview/leaflet/tables.ts'
import type { JsonObject } from '../../../../src/events.ts'
import { blob, DID, mutationsOf, OTHER_DID, resultOf, rowOf, uriOf } from './events.ts'
import { DELIMITER, page, pubLeafletDocument, siteStandardDocument, text } from './records.ts'

const CASES = [
  ['site.standard.document', siteStandardDocument, 'site', 'https://example.com'],
  ['pub.leaflet.document', pubLeafletDocument, 'publication', undefined],
] as const

const link = (collection: string, rows: JsonObject[]) => ({
  kind: 'replace-children',
  into: LINKS,
  parent: { document: uriOf(collection) },
  rows,
})

/** The record with `field` set, or without it. */
function naming(record: JsonObject, field: string, value: string | undefined): JsonObject {
  const { [field]: _, ...rest } = record
  return value === undefined ? rest : { ...rest, [field]: value }
}

describe.each(CASES)('%s', (collection, record, field, standalone) => {
  const uri = uriOf(collection)

  test('the document, then its link to a publication of its own', () => {
    expect(mutationsOf(record)).toEqual([
      { kind: 'upsert', into: DOCUMENTS, row: { uri, data: record } },
      link(collection, [{ publication: record[field] ?? null, document: uri }]),
    ])
  })

  test.each([
    ["another account's publication", uriOf('site.standard.publication', OTHER_DID)],
    ['its own account by handle', uriOf('site.standard.publication', 'alice.example.com')],
    ['none', standalone],
    ['an authority that only begins like its own', `at://${DID}x/site.standard.publication/a`],
  ])('has no link when it names %s', (_, publication) => {
    const mutations = mutationsOf(naming(record, field, publication))
    expect(mutations[0]).toMatchObject({ kind: 'upsert', into: DOCUMENTS })
    expect(mutations.slice(1)).toEqual([link(collection, [])])
  })

  test('writes a members-only post only where no row exists', () => {
    const cut = [page(text('free'), DELIMITER)]
    const post = record.content
      ? { ...record, content: { $type: 'pub.leaflet.content', pages: cut } }
      : { ...record, pages: cut }
    expect(mutationsOf(post)[0]).toMatchObject({ kind: 'upsert', into: DOCUMENTS, onlyIfAbsent: true })
    expect(mutationsOf(record)[0]).not.toHaveProperty('onlyIfAbsent')
  })
})

test('a document whose pages are in a blob is skipped', () => {
  const content = { $type: 'pub.leaflet.content', pages: [], blobPages: blob('application/json') }
  expect(resultOf({ ...siteStandardDocument, content })).toMatchObject({
    outcome: 'skipped',
    reason: expect.stringContaining('blob'),
  })
})

test("a third party's content is kept as it is, blobPages or not", () => {
  const content = { $type: 'com.example.markdown', blobPages: blob(), nested: { image: blob() } }
  expect(rowOf({ ...siteStandardDocument, content }).data).toMatchObject({ content })
})

test('an https publication is no AT-URI', () => {
  expect(resultOf({ ...pubLeafletDocument, publication: 'https://example.com' })).toMatchObject({
    outcome: 'invalid',
    reason: expect.stringContaining('$.publication'),
  })
})

test.each([
  ['an unknown text size', { $type: 'pub.leaflet.blocks.text', plaintext: '', textSize: 'huge' }, 'textSize'],
  [
    'a fraction as an aspect ratio',
    { $type: 'pub.leaflet.blocks.image', image: blob(), aspectRatio: { width: 1.5, height: 1 } },
    'aspectRatio.width',
  ],
])('refuses %s', (_, block: JsonObject, path) => {
  expect(resultOf({ ...pubLeafletDocument, pages: [page({ block })] })).toMatchObject({
    outcome: 'invalid',
    reason: expect.stringContaining(`at $.pages[0].blocks[0].block.${path}`),
  })
})
