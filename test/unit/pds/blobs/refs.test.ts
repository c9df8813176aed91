import { expect, test } from 'vitest'
import { blobRefsOf, pathText } from '../../../../src/pds/blobs/refs.ts'
import { cidOfBytes } from '../../../../src/repo/blob-cid.ts'
import { testBlob } from './blobs.ts'

const [a, b] = [testBlob('a'), testBlob('b', 'application/json')]

test('the CID of bytes is that of a blob', () => {
  // Of no bytes at all, whose SHA-256 is e3b0c442….
  expect(cidOfBytes(new Uint8Array())).toBe('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku')
})

test('finds references anywhere, each CID once, with every path, in the order of the record', () => {
  const record = {
    coverImage: a.ref,
    content: { pages: [{ blocks: [{ block: { image: b.ref } }, { block: { image: a.ref } }] }] },
    'odd key': [a.ref],
  }
  const refs = blobRefsOf(record)
  expect(refs.map(({ cid, mimeType, size }) => ({ cid, mimeType, size }))).toEqual([
    { cid: a.cid, mimeType: 'image/png', size: 1 },
    { cid: b.cid, mimeType: 'application/json', size: 1 },
  ])
  expect(refs.map(({ paths }) => paths.map(pathText))).toEqual([
    ['$.coverImage', '$.content.pages[0].blocks[1].block.image', '$["odd key"][0]'],
    ['$.content.pages[0].blocks[0].block.image'],
  ])
})

test('knows the old form and its converted size, and keeps contradicting references apart', () => {
  const legacy = { cid: a.cid, mimeType: 'image/png' }
  expect(blobRefsOf({ legacy })).toMatchObject([{ cid: a.cid, isLegacy: true, size: undefined }])
  expect(blobRefsOf({ x: { ...a.ref, size: -1 } })).toMatchObject([{ isLegacy: false, size: undefined }])
  expect(blobRefsOf({ x: a.ref, y: { ...a.ref, size: 9 } })).toHaveLength(2)
})

test.each([
  ['no CID', { ...a.ref, ref: { $link: '../../etc/passwd' } }],
  ['a legacy form that names no CID', { cid: '../x', mimeType: 'image/png' }],
  ['further keys, which a PDS takes for no reference', { ...a.ref, alt: 'x' }],
  ['further keys in the old form', { cid: a.cid, mimeType: 'image/png', alt: 'x' }],
  ['no type of media', { ...a.ref, mimeType: 'png' }],
  ['a strong reference', { uri: 'at://x', cid: a.cid }],
  ['null', null],
])('%s is no reference', (_, value) => {
  expect(blobRefsOf({ value })).toEqual([])
})

test('a reference inside what is no reference counts, and deep nesting does no harm', () => {
  let nested: Record<string, unknown> = { image: a.ref }
  for (let depth = 0; depth < 20_000; depth++) nested = { nested }
  expect(blobRefsOf(nested as never)).toHaveLength(1)
})
