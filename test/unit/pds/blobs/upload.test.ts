import { afterEach, expect, test, vi } from 'vitest'
import { PdsError, UnavailableError } from '../../../../src/errors.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { BlobUploads, type UploadedBlob } from '../../../../src/pds/blobs/upload.ts'
import { DID, memorySource, servesNothing, testBlob } from './blobs.ts'

const [a, b, c] = [testBlob('aa'), testBlob('bb'), testBlob('cc')]
const record = (...refs: unknown[]) => ({ record: { refs } as never })

afterEach(() => {
  vi.useRealTimers()
})

/** A host that takes everything, but for what `answer` says. */
function host(answer: (sent: UploadedBlob) => UploadedBlob = (sent) => sent) {
  const sent: UploadedBlob[] = []
  const cidsOfBytes = new Map([a, b, c].map(({ bytes, cid }) => [Buffer.from(bytes).toString(), cid]))
  return {
    sent,
    did: DID,
    async uploadBlob(bytes: Uint8Array, mimeType: string) {
      const cid = cidsOfBytes.get(Buffer.from(bytes).toString()) ?? ''
      const blob = { cid, mimeType, size: bytes.length }
      sent.push(blob)
      return answer(blob)
    },
  }
}

function uploads(
  session: ReturnType<typeof host>,
  more: Partial<ConstructorParameters<typeof BlobUploads>[0]> = {},
) {
  const finder = new BlobFinder(DID, [memorySource('folder', [a, b])])
  return new BlobUploads({ session, finder, isServed: servesNothing, ...more })
}

test('uploads what a batch needs and the host does not serve, once in a run', async () => {
  const session = host()
  const run = uploads(session, { isServed: async () => new Set([b.cid]) })
  const [first, second] = [record(a.ref, b.ref), record(a.ref)]
  expect(await run.prepare([first])).toEqual({ ready: [first], refused: [] })
  expect(await run.prepare([second, record()])).toMatchObject({ ready: [second, {}] })
  expect(session.sent).toEqual([{ cid: a.cid, mimeType: 'image/png', size: 2 }])
  expect(run.uploaded).toEqual({ count: 1, bytes: 2 })
})

test('a blob whose last reference an earlier batch has overwritten is uploaded then', async () => {
  const session = host()
  const answers = [new Set([a.cid]), new Set<string>()]
  const run = uploads(session, { isServed: async () => answers.shift() ?? new Set() })
  await run.prepare([record(a.ref)])
  expect(session.sent).toEqual([])
  await run.prepare([record(a.ref)])
  expect(session.sent).toMatchObject([{ cid: a.cid }])
})

test.each([
  [
    'another type',
    (blob: UploadedBlob) => ({ ...blob, mimeType: 'image/webp' }),
    'the PDS finds it to be image/webp',
  ],
  ['another size', (blob: UploadedBlob) => ({ ...blob, size: 3 }), 'it has 3 bytes, and the record says 2'],
  ['another CID', (blob: UploadedBlob) => ({ ...blob, cid: c.cid }), `the PDS has it as ${c.cid}`],
])('%s than the record says refuses the record, with the path', async (_, answer, reason) => {
  const bad = record(a.ref)
  expect(await uploads(host(answer)).prepare([bad, record()])).toEqual({
    ready: [record()],
    refused: [{ record: bad, reason: `blob ${a.cid} (image/png) at $.refs[0]: ${reason}` }],
  })
})

test('a blob that is nowhere, or that the host refuses for good, costs its records only', async () => {
  const nowhere = await uploads(host()).prepare([record(c.ref), record(a.ref)])
  expect(nowhere.ready).toEqual([record(a.ref)])
  expect(nowhere.refused[0]?.reason).toContain('no source has it')
  const takenDown = host(() => {
    throw new PdsError('Blob has been takendown', { error: 'InvalidRequest' })
  })
  const refused = await uploads(takenDown).prepare([record(a.ref)])
  expect(refused.refused[0]?.reason).toContain('takendown')
})

test('a source that cannot be asked now stops the run, and refuses nothing', async () => {
  const finder = new BlobFinder(DID, [memorySource('down', { '*': new UnavailableError('no answer') })])
  await expect(uploads(host(), { finder }).prepare([record(a.ref)])).rejects.toBeInstanceOf(UnavailableError)
})

test('the day’s uploads are counted, and the wait is until the day is over', async () => {
  vi.useFakeTimers({ now: 1_000_000 })
  const session = host()
  const run = uploads(session, { uploadsPerDay: 2, uploadedBefore: { count: 1, sinceMs: 900_000 } })
  await run.prepare([record(a.ref)])
  const dayOverMs = 900_000 + 86_400_000
  await expect(run.prepare([record(b.ref)])).rejects.toMatchObject({ retryAtMs: dayOverMs })
  vi.setSystemTime(dayOverMs)
  expect(await run.prepare([record(b.ref)])).toMatchObject({ refused: [] })
  expect(session.sent).toHaveLength(2)
})
