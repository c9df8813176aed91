import { describe, expect, test } from 'vitest'
import { CEILINGS, countThatFits, packBatches, TREE_BYTES } from '../../../src/pds/batches.ts'

const items = (count: number, jsonBytes: number, blockBytes?: number) =>
  Array.from({ length: count }, () => ({ jsonBytes, ...(blockBytes === undefined ? {} : { blockBytes }) }))

const sizes = (batches: readonly unknown[][]) => batches.map((batch) => batch.length)

describe('packBatches', () => {
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
