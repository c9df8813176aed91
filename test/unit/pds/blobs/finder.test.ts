import { expect, test } from 'vitest'
import { ConfigError, UnavailableError, VerificationError } from '../../../../src/errors.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { DID, memorySource, testBlob } from './blobs.ts'

const [a, b] = [testBlob('a'), testBlob('b')]

test('the first source whose bytes have the CID wins, and the others are not asked', async () => {
  const sources = [memorySource('empty', []), memorySource('second', [a]), memorySource('third', [a])]
  expect(await new BlobFinder(DID, sources).find(a.cid)).toEqual({ source: 'second', bytes: a.bytes })
  expect(sources.map(({ asked }) => asked.length)).toEqual([1, 1, 0])
})

test('other bytes under a CID are passed over, and said', async () => {
  const wrong = memorySource('wrong', { [a.cid]: b.bytes })
  expect(await new BlobFinder(DID, [wrong]).find(a.cid)).toEqual({
    reasons: ['wrong has other bytes under this CID'],
    mayComeLater: false,
  })
  const finder = new BlobFinder(DID, [wrong, memorySource('right', [a])])
  expect(await finder.find(a.cid)).toMatchObject({ source: 'right' })
})

test('what was found is not fetched twice', async () => {
  const source = memorySource('one', [a])
  const finder = new BlobFinder(DID, [source])
  await finder.find(a.cid)
  await finder.find(a.cid)
  expect(source.asked).toEqual([a.cid])
})

test('a source that is down costs a few attempts, not one per blob, and its blobs may come later', async () => {
  const down = memorySource('down', { '*': new UnavailableError('down could not be reached') })
  const finder = new BlobFinder(DID, [down, memorySource('up', [b])])
  for (let index = 0; index < 10; index++) {
    expect(await finder.find(a.cid)).toMatchObject({ mayComeLater: true })
  }
  expect(down.asked).toHaveLength(3)
  expect(await finder.find(b.cid)).toMatchObject({ source: 'up' })
})

test('a refusal for good is a reason; a source that was named wrongly ends the search', async () => {
  const refusing = memorySource('big', { '*': new VerificationError('too large') })
  expect(await new BlobFinder(DID, [refusing]).find(a.cid)).toEqual({
    reasons: ['big: too large'],
    mayComeLater: false,
  })
  const misnamed = memorySource('bucket', { '*': new ConfigError('no such bucket') })
  await expect(new BlobFinder(DID, [misnamed]).find(a.cid)).rejects.toThrow('no such bucket')
})
