import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { UnavailableError } from '../../../../src/errors.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { blobsOfWrite, planBlobs } from '../../../../src/pds/blobs/plan.ts'
import type { BlobSource } from '../../../../src/pds/blobs/source.ts'
import { DID, memorySource, servesNothing, type TestBlob, testBlob } from './blobs.ts'

const [a, b, c] = [testBlob('aa'), testBlob('bb'), testBlob('cc')]

const uri = (rkey: string) => `at://${DID}/site.standard.document/${rkey}`
const recordOf = (rkey: string, ...refs: unknown[]) => ({ uri: uri(rkey), record: { refs } as never })

test('says of each blob where it is, and of each record what it lacks', async () => {
  const plan = await planBlobs([recordOf('1', a.ref, b.ref), recordOf('2', b.ref, c.ref), recordOf('3')], {
    isServed: async () => new Set([a.cid]),
    finder: new BlobFinder(DID, [memorySource('folder', [b])]),
  })
  expect(plan).toEqual({
    blobs: [
      { cid: a.cid, mimeType: 'image/png', status: 'served' },
      { cid: b.cid, mimeType: 'image/png', status: 'upload', bytes: 2, source: 'folder' },
      { cid: c.cid, mimeType: 'image/png', status: 'missing' },
    ],
    records: [
      { uri: uri('1'), cids: [a.cid, b.cid], lacking: [] },
      {
        uri: uri('2'),
        cids: [b.cid, c.cid],
        lacking: [{ cid: c.cid, mimeType: 'image/png', paths: ['$.refs[1]'], reason: 'no source has it' }],
      },
    ],
    counts: { served: 1, upload: 1, missing: 1 },
    uploadBytes: 2,
    uploadDays: 1,
  })
})

test('a reference that its host would refuse is lacking, although the blob is there', async () => {
  const records = [
    recordOf('size', { ...b.ref, size: 9 }),
    recordOf('legacy', { cid: b.cid, mimeType: 'image/png' }),
    recordOf('right', b.ref),
  ]
  const plan = await planBlobs(records, {
    isServed: servesNothing,
    finder: new BlobFinder(DID, [memorySource('folder', [b])]),
  })
  expect(plan.records.map(({ lacking }) => lacking.map(({ reason }) => reason))).toEqual([
    ['the blob has 2 bytes, and the record says 9'],
    ['a host takes no new reference of this old form ({ cid, mimeType })'],
    [],
  ])
})

test('a source that is down makes its blobs missing for now', async () => {
  const plan = await planBlobs([recordOf('1', a.ref)], {
    isServed: servesNothing,
    finder: new BlobFinder(DID, [memorySource('down', { '*': new UnavailableError('no answer') })]),
  })
  expect(plan.records[0]?.lacking).toMatchObject([{ reason: 'down: no answer', mayComeLater: true }])
})

test('many blobs are looked for a few at a time, and each once', async () => {
  const blobs: TestBlob[] = Array.from({ length: 2500 }, (_, index) => testBlob(`blob ${index}`))
  const held = new Map(blobs.map(({ cid, bytes }) => [cid, bytes]))
  let running = 0
  let most = 0
  let asked = 0
  const source: BlobSource = {
    name: 'slow',
    async fetch(cid) {
      asked++
      most = Math.max(most, ++running)
      await setTimeout(0)
      running--
      return held.get(cid)
    },
  }
  const progress: number[] = []
  const plan = await planBlobs(
    [recordOf('1', ...blobs.map(({ ref }) => ref)), recordOf('2', blobs[0]?.ref)],
    {
      isServed: servesNothing,
      finder: new BlobFinder(DID, [source]),
      onProgress: (done) => progress.push(done),
    },
  )
  expect(plan).toMatchObject({ counts: { served: 0, upload: 2500, missing: 0 }, uploadDays: 3 })
  expect({ asked, last: progress.at(-1) }).toEqual({ asked: 2500, last: 2500 })
  expect(most).toBeGreaterThan(1)
  expect(most).toBeLessThanOrEqual(8)
})

test('a write plan names each missing blob once, with the records that refer to it', async () => {
  const records = [recordOf('1', a.ref, c.ref), recordOf('2', c.ref), recordOf('3', { ...b.ref, size: 9 })]
  const plan = await planBlobs(records, {
    isServed: async () => new Set([a.cid]),
    finder: new BlobFinder(DID, [memorySource('folder', [b])]),
  })
  expect(blobsOfWrite(plan)).toEqual({
    counts: { served: 1, upload: 1, missing: 1 },
    uploadBytes: 2,
    uploadDays: 1,
    missing: [
      { cid: c.cid, mimeType: 'image/png', reason: 'no source has it', uris: [uri('1'), uri('2')] },
      {
        cid: b.cid,
        mimeType: 'image/png',
        reason: 'the blob has 2 bytes, and the record says 9',
        uris: [uri('3')],
      },
    ],
  })
})
