import { expect, test } from 'vitest'
import { keepBlobs } from '../../../src/inngest/kept-blobs.ts'
import { BlobFinder } from '../../../src/pds/blobs/finder.ts'
import type { BlobSupply } from '../../../src/pds/blobs/supply.ts'

function supplier() {
  const opened: string[] = []
  const supply = async (did: string): Promise<BlobSupply> => {
    opened.push(did)
    return { isServed: async () => new Set(), finder: new BlobFinder(did, []) }
  }
  return { opened, supply }
}

test('an account has one supply, until it is old', async () => {
  let nowMs = 0
  const { opened, supply } = supplier()
  const blobs = keepBlobs(supply, () => nowMs)
  const [first, second] = await Promise.all([blobs('did:plc:a'), blobs('did:plc:a')])
  expect(second).toBe(first)
  nowMs = 29 * 60_000
  expect(await blobs('did:plc:a')).toBe(first)
  nowMs = 31 * 60_000
  expect(await blobs('did:plc:a')).not.toBe(first)
  expect(opened).toHaveLength(2)
})

test('of many accounts those used last are kept', async () => {
  const { opened, supply } = supplier()
  const blobs = keepBlobs(supply)
  for (const did of ['a', 'b', 'c', 'd', 'a', 'e']) await blobs(did)
  expect(opened).toEqual(['a', 'b', 'c', 'd', 'e'])
  await blobs('a')
  await blobs('b')
  expect(opened).toEqual(['a', 'b', 'c', 'd', 'e', 'b'])
})

test('one that could not be opened is opened again', async () => {
  let tries = 0
  const { supply } = supplier()
  const blobs = keepBlobs((did) => (++tries === 1 ? Promise.reject(new Error('no PDS')) : supply(did)))
  await expect(blobs('did:plc:a')).rejects.toThrow('no PDS')
  expect(await blobs('did:plc:a')).toHaveProperty('finder')
})
