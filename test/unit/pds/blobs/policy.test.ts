import { expect, test } from 'vitest'
import { leaflet } from '../../../../src/appview/leaflet/index.ts'
import { RestoreError, UnavailableError } from '../../../../src/errors.ts'
import type { JsonObject } from '../../../../src/events.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { type BlobPlan, planBlobs } from '../../../../src/pds/blobs/plan.ts'
import { applyMissingBlobs, type MissingBlobPolicy } from '../../../../src/pds/blobs/policy.ts'
import type { BlobSource } from '../../../../src/pds/blobs/source.ts'
import type { LostRecord } from '../../../../src/pds/lost-record.ts'
import { encodeRecord } from '../../../../src/repo/record.ts'
import { DID, memorySource, servesNothing, testBlob } from './blobs.ts'

const gone = testBlob('gone')
const page = (...blocks: JsonObject[]): JsonObject => ({
  $type: 'pub.leaflet.pages.linearDocument',
  blocks: blocks.map((block) => ({ block })),
})
const content = (...pages: JsonObject[]): JsonObject => ({ $type: 'pub.leaflet.content', pages })
const document = (fields: JsonObject): JsonObject => ({
  $type: 'site.standard.document',
  title: 'Herons',
  site: 'https://example.com',
  publishedAt: '2026-02-14T09:30:00.000Z',
  ...fields,
})

function lost(record: JsonObject): LostRecord {
  const collection = String(record.$type)
  const rkey = '3lhqvxm2cks2e'
  const { cid, bytes } = encodeRecord(record)
  return {
    uri: `at://${DID}/${collection}/${rkey}`,
    collection,
    rkey,
    cid: cid.toString(),
    bytes: bytes.length,
    record,
    originalCid: undefined,
    proof: 'self-consistent',
  }
}

async function outcome(record: JsonObject, policy?: MissingBlobPolicy, sources: BlobSource[] = []) {
  const records = [lost(record)]
  const finder = new BlobFinder(DID, sources)
  const plan = await planBlobs(records, { isServed: servesNothing, finder })
  const [result] = applyMissingBlobs(records, plan, { appview: leaflet, ...(policy && { policy }) })
  if (result === undefined) throw new Error('no record')
  return result
}

test('by default the record is refused, with blob, path and reason', async () => {
  expect(await outcome(document({ coverImage: gone.ref }))).toEqual({
    uri: `at://${DID}/site.standard.document/3lhqvxm2cks2e`,
    refusal: 'blob-missing',
    reason: `blob ${gone.cid} (image/png) at $.coverImage: no source has it`,
    originalCid: undefined,
  })
})

test('a record that lacks nothing stays as it is', async () => {
  const record = document({ coverImage: gone.ref })
  const found = await outcome(record, 'strip', [memorySource('folder', [gone])])
  expect(found).toMatchObject({ record, proof: 'self-consistent' })
})

const website = (fields: JsonObject): JsonObject => ({
  $type: 'pub.leaflet.blocks.website',
  src: 'https://example.com',
  ...fields,
})

test.each<[string, JsonObject, JsonObject]>([
  ['a cover', document({ coverImage: gone.ref }), document({})],
  [
    'a preview in a block',
    document({ content: content(page(website({ previewImage: gone.ref }))) }),
    document({ content: content(page(website({}))) }),
  ],
  [
    'a background, with the object that is there for it',
    document({ theme: { backgroundImage: { image: gone.ref, width: 9 }, pageWidth: 720 } }),
    document({ theme: { pageWidth: 720 } }),
  ],
])('%s is stripped, and the record is another one then', async (_, record, stripped) => {
  const { cid, bytes } = encodeRecord(stripped)
  expect(await outcome(record, 'strip')).toMatchObject({
    record: stripped,
    cid: cid.toString(),
    bytes: bytes.length,
    proof: 'different',
    differs: expect.stringContaining(gone.cid),
  })
})

test('what was proven is not, once stripped', () => {
  const record = { ...lost(document({ coverImage: gone.ref })), proof: 'proven', provenBy: 'repo' } as const
  const lacking = [{ cid: gone.cid, mimeType: 'image/png', paths: ['$.coverImage'], reason: 'gone' }]
  const plan: BlobPlan = {
    blobs: [],
    records: [{ uri: record.uri, cids: [gone.cid], lacking }],
    counts: { served: 0, upload: 0, missing: 1 },
    uploadBytes: 0,
    uploadDays: 0,
  }
  const [stripped] = applyMissingBlobs([{ ...record, doubt: 'x' }], plan, {
    appview: leaflet,
    policy: 'strip',
  })
  expect(stripped).toMatchObject({ proof: 'different', record: document({}) })
  expect(stripped).not.toHaveProperty('provenBy')
  expect(stripped).not.toHaveProperty('doubt')
})

test.each<[string, JsonObject]>([
  [
    'an image block would lose its place',
    document({
      content: content(
        page({ $type: 'pub.leaflet.blocks.image', image: gone.ref, aspectRatio: { width: 1, height: 1 } }),
      ),
    }),
  ],
  [
    'pages in a blob are the content itself',
    document({
      content: { $type: 'pub.leaflet.content', pages: [], blobPages: testBlob('[]', 'application/json').ref },
    }),
  ],
  ['somebody else’s content', document({ content: { $type: 'org.example.post', image: gone.ref } })],
  ['a field that no lexicon knows', document({ banner: gone.ref })],
  ['a record that breaks its lexicon', { ...document({ coverImage: gone.ref }), title: 7 }],
  ['a collection without a description', { $type: 'org.example.thing', image: gone.ref }],
])('is refused instead of stripped: %s', async (_, record) => {
  expect(await outcome(record, 'strip')).toMatchObject({ refusal: 'blob-missing' })
})

test('what only cannot be asked for now is not stripped', async () => {
  const down = [memorySource('down', { '*': new UnavailableError('no answer') })]
  const result = await outcome(document({ coverImage: gone.ref }), 'strip', down)
  expect(result).toMatchObject({ refusal: 'blob-missing', reason: expect.stringContaining('no answer') })
})

test('with fail nothing goes on: for good, or until later', async () => {
  const record = document({ coverImage: gone.ref })
  await expect(outcome(record, 'fail')).rejects.toBeInstanceOf(RestoreError)
  await expect(outcome(record, 'fail')).rejects.toThrow('$.coverImage')
  const down = [memorySource('down', { '*': new UnavailableError('no answer') })]
  await expect(outcome(record, 'fail', down)).rejects.toBeInstanceOf(UnavailableError)
  await expect(outcome(document({}), 'fail')).resolves.toMatchObject({ proof: 'self-consistent' })
})
