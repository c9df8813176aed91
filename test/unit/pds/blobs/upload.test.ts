import { beforeEach, describe, expect, test, vi } from 'vitest'
import { PdsError, UnavailableError } from '../../../../src/errors.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { BlobUploads, type UploadedBlob } from '../../../../src/pds/blobs/upload.ts'
import { newUploadBudget } from '../../../../src/pds/blobs/uploader.ts'
import { available, type Budget, close } from '../../../../src/pds/budget.ts'
import { DID, memorySource, servesNothing, testBlob } from './blobs.ts'

/** All but `c` can be had. */
const [a, b, c, d] = [testBlob('aa'), testBlob('bb'), testBlob('cc'), testBlob('dd')]
const record = (...refs: unknown[]) => ({ record: { refs } as never })

/** A host that takes everything, but for what `answer` says. */
function host(answer: (sent: UploadedBlob) => UploadedBlob = (sent) => sent) {
  const sent: UploadedBlob[] = []
  const cidsOfBytes = new Map([a, b, c, d].map(({ bytes, cid }) => [Buffer.from(bytes).toString(), cid]))
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
  const finder = new BlobFinder(DID, [memorySource('folder', [a, b, d])])
  return new BlobUploads({ session, finder, isServed: servesNothing, pauseMs: 1, ...more })
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

describe('a limit', () => {
  const DAY_MS = 86_400_000
  let nowMs: number
  const now = () => nowMs

  beforeEach(() => {
    nowMs = 1_000_000
  })

  test('of a day stops at the first record that waits for it, and goes on when the day is over', async () => {
    const session = host()
    let budget = newUploadBudget(2)
    const run = uploads(session, { budget, now, onBudget: (left) => (budget = left) })
    const [first, plain, second] = [record(a.ref, b.ref), record(), record(d.ref)]
    expect(await run.prepare([first, plain, second, record()])).toEqual({
      ready: [first, plain],
      refused: [],
      limited: { uploads: 1, error: expect.objectContaining({ retryAtMs: nowMs + DAY_MS }) },
    })
    expect(available(budget, nowMs)).toBe(0)
    nowMs += DAY_MS
    // As a later step would, with what the one before has counted.
    const later = uploads(session, { budget: JSON.parse(JSON.stringify(budget)), now })
    expect(await later.prepare([second])).toEqual({ ready: [second], refused: [] })
    expect(session.sent).toHaveLength(3)
  })

  test('does not hold up what is refused anyway, nor what is in front of it', async () => {
    const run = uploads(host(), { budget: close(newUploadBudget(), nowMs + 1), now })
    const [lost, plain] = [record(c.ref), record()]
    const batch = await run.prepare([plain, lost, record(a.ref), plain])
    expect(batch).toMatchObject({ ready: [plain], refused: [{ record: lost }], limited: { uploads: 1 } })
    const legacy = record({ cid: c.cid, mimeType: 'image/png' }, a.ref)
    expect(await run.prepare([legacy])).toMatchObject({ refused: [{ record: legacy }] })
  })

  test('of the host, told by a 429, stops as well, and counts what the host counts', async () => {
    const refused = new UnavailableError('limited', { retryAtMs: nowMs + 5000 })
    let isLimited = true
    const session = host((blob) => {
      if (isLimited) throw refused
      return blob
    })
    const run = uploads(session, { now })
    expect(await run.prepare([record(a.ref)])).toEqual({
      ready: [],
      refused: [],
      limited: { uploads: 1, error: refused },
    })
    isLimited = false
    run.closeUntil(nowMs + 5000)
    expect(await run.prepare([record(a.ref)])).toMatchObject({ ready: [], limited: {} })
    nowMs += 5000
    expect(await run.prepare([record(a.ref)])).toMatchObject({ ready: [{}], refused: [] })
    expect(session.sent).toHaveLength(2)
  })

  test('of requests, met when the host is asked what it serves, refuses nothing', async () => {
    const session = host()
    const error = new UnavailableError('limited', { retryAtMs: nowMs + 5000 })
    const isServed = async () => {
      throw error
    }
    const run = uploads(session, { budget: newUploadBudget(1), now, isServed })
    const [plain, many] = [record(), record(a.ref, b.ref)]
    expect(await run.prepare([plain, many])).toEqual({
      ready: [plain],
      refused: [],
      limited: { uploads: 2, error },
    })
    expect(session.sent).toEqual([])
  })

  test('a record with more blobs than a day takes is refused, since its first would be gone before its last came', async () => {
    const many = record(a.ref, b.ref, d.ref)
    const batch = await uploads(host(), { budget: newUploadBudget(2), now }).prepare([many, record()])
    expect(batch).toMatchObject({
      ready: [record()],
      refused: [{ record: many, reason: expect.stringContaining('it needs 3 blobs, and the PDS takes 2') }],
    })
  })
})

describe('an upload whose outcome is unknown', () => {
  test.each([1, 2])('%i times is repeated', async (failures) => {
    let left = failures
    const session = host((blob) => {
      if (left-- > 0) throw new UnavailableError('no answer')
      return blob
    })
    let spent: Budget | undefined
    const run = uploads(session, { onBudget: (budget) => (spent = budget) })
    expect(await run.prepare([record(a.ref)])).toMatchObject({ ready: [{}], refused: [] })
    expect(session.sent).toHaveLength(failures + 1)
    expect(run.uploaded.count).toBe(1)
    expect(spent?.windows[0]?.spent).toBe(failures + 1)
  })

  test('every time is an outage', async () => {
    const session = host(() => {
      throw new UnavailableError('no answer')
    })
    await expect(uploads(session).prepare([record(a.ref)])).rejects.toThrow('no answer')
    expect(session.sent).toHaveLength(3)
  })
})

test('what was uploaded half an hour ago, or turned out to be gone, goes up again', async () => {
  const session = host()
  let nowMs = 0
  const run = uploads(session, { now: () => nowMs })
  await run.prepare([record(a.ref)])
  nowMs = 29 * 60_000
  await run.prepare([record(a.ref)])
  expect(session.sent).toHaveLength(1)
  run.forget([a.cid])
  await run.prepare([record(a.ref)])
  expect(session.sent).toHaveLength(2)
  nowMs += 30 * 60_000
  await run.prepare([record(a.ref)])
  expect(session.sent).toHaveLength(3)
})

test('a batch without blobs asks for nothing', async () => {
  const isServed = vi.fn(servesNothing)
  const run = uploads(host(), { isServed })
  expect(await run.prepare([record(), record('text')])).toMatchObject({ ready: [{}, {}], refused: [] })
  expect(isServed).not.toHaveBeenCalled()
})
