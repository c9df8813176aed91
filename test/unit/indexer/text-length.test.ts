import { expect, test } from 'vitest'
import { textLength } from '../../../src/indexer/text-length.ts'
import { encodeRecord, lexToJson } from '../../../src/repo/record.ts'

test.each([
  [{}],
  [{ title: 'a', list: ['some', 'words'], deep: { a: [1, true, null, { b: 'c' }] } }],
  [{ bytes: { $bytes: 'AAECAwQFBgcICQ' } }],
  [{ text: 'x'.repeat(10_000) }],
])('is about the length of the JSON: %#', (json) => {
  const { record } = encodeRecord(json)
  const exact = JSON.stringify(lexToJson(record)).length
  expect(Math.abs(textLength(record) - exact)).toBeLessThan(20 + exact / 4)
})
