import { describe, expect, test } from 'vitest'
import {
  CEILINGS,
  countThatFits,
  MAX_REQUEST_BYTES,
  MAX_WRITES,
  packBatches,
  TREE_BYTES,
} from '../../../src/pds/batches.ts'

const items = (count: number, jsonBytes: number, blockBytes?: number) =>
  Array.from({ length: count }, () => ({ jsonBytes, ...(blockBytes === undefined ? {} : { blockBytes }) }))

const sizes = (batches: readonly unknown[][]) => batches.map((batch) => batch.length)

const sized = (...sizes: number[]) => sizes.map((jsonBytes, index) => ({ jsonBytes, index }))
const bytesOf = (batches: { jsonBytes: number }[][]) =>
  batches.map((batch) => batch.map(({ jsonBytes }) => jsonBytes))

describe('packBatches', () => {
  test.each<[string, number[], number[][]]>([
    ['nothing', [], []],
    ['up to the limit', [4, 6], [[4, 6]]],
    ['one byte above it', [4, 7], [[4], [7]]],
    ['one item above the limit stands alone', [1, 11, 1, 1], [[1], [11], [1, 1]]],
    ['as many items as are allowed', [1, 1, 1, 1], [[1, 1, 1], [1]]],
    ['items of no size', [0, 0, 0, 0], [[0, 0, 0], [0]]],
  ])('%s', (_, sizes, expected) => {
    expect(bytesOf(packBatches(sized(...sizes), 10, 3))).toEqual(expected)
  })

  test('keeps the order, loses nothing, and keeps the limits of a PDS', () => {
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

  test('no more than 200 operations', () => {
    expect(sizes(packBatches(items(450, 100)))).toEqual([200, 200, 50])
  })

  test('no more bytes than a request may have', () => {
    expect(sizes(packBatches(items(100, 20_000)))).toEqual([49, 49, 2])
    expect(sizes(packBatches(items(3, 60_000), 150_000))).toEqual([2, 1])
  })

  test('no more blocks than a commit may have, with the tree above the records', () => {
    const blockBytes = 96_000
    const fit = Math.floor(CEILINGS.maxCommitBytes / (blockBytes + TREE_BYTES))
    expect(sizes(packBatches(items(30, 100, blockBytes)))).toEqual([fit, 30 - fit])
  })

  test('what is too large for any batch stands alone', () => {
    expect(sizes(packBatches(items(3, 2_000_000)))).toEqual([1, 1, 1])
  })

  test('keeps the order, and nothing makes nothing', () => {
    const numbered = Array.from({ length: 5 }, (_, index) => ({ jsonBytes: 10, index }))
    expect(packBatches(numbered, 25).flat()).toEqual(numbered)
    expect(packBatches([])).toEqual([])
  })
})

test('countThatFits counts from anywhere', () => {
  expect(countThatFits(items(10, 10), { ...CEILINGS, maxItems: 4 }, 8)).toBe(2)
  expect(countThatFits(items(10, 10), { ...CEILINGS, maxItems: 4 }, 3)).toBe(4)
})
