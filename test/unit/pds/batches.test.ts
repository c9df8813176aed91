import { expect, test } from 'vitest'
import { MAX_REQUEST_BYTES, MAX_WRITES, packBatches } from '../../../src/pds/batches.ts'

const sized = (...sizes: number[]) => sizes.map((jsonBytes, index) => ({ jsonBytes, index }))
const sizesOf = (batches: { jsonBytes: number }[][]) =>
  batches.map((batch) => batch.map(({ jsonBytes }) => jsonBytes))

test.each<[string, number[], number[][]]>([
  ['nothing', [], []],
  ['up to the limit', [4, 6], [[4, 6]]],
  ['one byte above it', [4, 7], [[4], [7]]],
  ['one item above the limit stands alone', [1, 11, 1, 1], [[1], [11], [1, 1]]],
  ['as many items as are allowed', [1, 1, 1, 1], [[1, 1, 1], [1]]],
  ['items of no size', [0, 0, 0, 0], [[0, 0, 0], [0]]],
])('%s', (_, sizes, expected) => {
  expect(sizesOf(packBatches(sized(...sizes), 10, 3))).toEqual(expected)
})

test('keep the order, lose nothing, and keep the limits of a PDS', () => {
  const items = sized(...Array.from({ length: 1000 }, (_, n) => (n % 97) * 1000 + 1))
  const batches = packBatches(items)
  expect(batches.flat()).toEqual(items)
  for (const batch of batches) {
    expect(batch.length).toBeLessThanOrEqual(MAX_WRITES)
    expect(batch.reduce((sum, { jsonBytes }) => sum + jsonBytes, 0)).toBeLessThanOrEqual(MAX_REQUEST_BYTES)
  }
  expect(MAX_WRITES).toBe(200)
  expect(MAX_REQUEST_BYTES).toBeLessThan(1_000_000)
})
