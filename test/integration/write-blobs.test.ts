/** Records with pictures onto a real PDS, whose network and limits are not kind to them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { UnavailableError } from '../../src/errors.ts'
import type { JsonObject } from '../../src/events.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createHostQueues } from '../../src/network/host-queues.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { BlobFinder } from '../../src/pds/blobs/finder.ts'
import { servedBlobs } from '../../src/pds/blobs/served.ts'
import { newUploadBudget } from '../../src/pds/blobs/uploader.ts'
import { available } from '../../src/pds/budget.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { openSession, type Session } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import { type RecordToWrite, type WriteOptions, type WriteResult, writeRecords } from '../../src/pds/write.ts'
import { newWriteState } from '../../src/pds/write-state.ts'
import { cidOfBytes } from '../../src/repo/blob-cid.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { type Account, type Network, startNetwork } from '../../src/stack/network.ts'
import { blobOf, type Picture, pictureOf } from '../../src/stack/scenario/images.ts'
import { memorySource } from '../unit/pds/blobs/blobs.ts'
import { fetchAs, sessionAs } from './account-writes.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'

const NOTE = 'com.example.note'
const DAY_MS = 86_400_000

let folder: string
let network: Network
let account: Account
let proxy: FaultProxy
/** Another client of the account, past the proxy. */
let outside: Session
let session: Session
let accountCount = 0
const fetch = createFetch({ allowLocalhost: true })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'write-blobs-test-'))
  network = await startNetwork(folder)
})
afterAll(async () => {
  await network?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})
beforeEach(async () => {
  account = await network.createAccount(`pictures${++accountCount}.test`)
  const identity = createIdentity({ plcUrl: network.plcUrl, allowLocalhost: true })
  proxy = await startFaultProxy(account.pdsUrl)
  outside = await sessionAs(account)
  session = await openSession(
    account.did,
    appPasswordSessions(() => account.password, { identity, fetch: proxy.fetch(fetch) }),
  )
  return () => proxy[Symbol.asyncDispose]()
})

const note = (name: string, ...refs: JsonObject[]): RecordToWrite => ({
  collection: NOTE,
  rkey: name,
  record: { $type: NOTE, text: name, refs },
})
const withPictures = (name: string, ...pictures: Picture[]) => note(name, ...pictures.map(blobOf))
const pictures = <Names extends string[]>(...names: Names) =>
  names.map((name) => pictureOf(name)) as { [Index in keyof Names]: Picture }

interface Written extends WriteResult {
  /** Calls of listBlobs. */
  asked: number
}

async function write(
  records: readonly RecordToWrite[],
  sources: readonly Picture[] | Error,
  options: Partial<WriteOptions> = {},
): Promise<Written> {
  let asked = 0
  const held =
    sources instanceof Error
      ? { '*': sources }
      : Object.fromEntries(sources.map(({ cid, bytes }) => [cid, bytes]))
  const isServed = servedBlobs(account.pdsUrl, account.did, { fetch, queues: createHostQueues() })
  const result = await writeRecords(records, {
    session,
    readRepo,
    blobs: {
      isServed(cids) {
        asked++
        return isServed(cids)
      },
      finder: new BlobFinder(account.did, [memorySource('folder', held)]),
    },
    ...options,
  })
  return { ...result, asked }
}

function readRepo() {
  const identity = createIdentity({ plcUrl: network.plcUrl, allowLocalhost: true })
  return fetchRepo(account.did, { identity, xrpc: createXrpc({ fetch }) })
}

/** Each of these once, under the CID it had, and nothing else. */
async function expectRepo(records: readonly RecordToWrite[]): Promise<void> {
  const found = [...(await readRepo()).records()].map(({ rkey, cid }) => [rkey, cid.toString()])
  expect(found).toHaveLength(records.length)
  expect(Object.fromEntries(found)).toEqual(
    Object.fromEntries(records.map(({ rkey, record }) => [rkey, cidOfRecord(record)])),
  )
}

async function expectServed(...wanted: readonly Picture[]): Promise<void> {
  for (const { cid, bytes } of wanted) {
    const query = new URLSearchParams({ did: account.did, cid })
    const response = await fetchAs(account, `/xrpc/com.atproto.sync.getBlob?${query}`)
    expect(response.status).toBe(200)
    expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(bytes))
  }
}

const createOf = ({ collection, rkey, record }: RecordToWrite) => ({
  $type: 'com.atproto.repo.applyWrites#create' as const,
  collection,
  rkey,
  value: record,
})

/** The PDS forgets a blob with the last record that refers to it, as it forgets one that none ever did. */
async function expire(picture: Picture): Promise<void> {
  const last = withPictures(`last-of-${picture.cid}`, picture)
  await outside.applyWrites([createOf(last)])
  await outside.applyWrites([
    { $type: 'com.atproto.repo.applyWrites#delete', collection: NOTE, rkey: last.rkey },
  ])
}

const outcomes = ({ records }: WriteResult) =>
  Object.fromEntries(records.map(({ rkey, outcome }) => [rkey, outcome]))
const uploadedCids = () => proxy.uploads.map(({ cid }) => cid)
const spent = () => ({ commits: proxy.commits(), points: proxy.points() })

describe('blobs of records', () => {
  test('are uploaded before the batch that needs them, and served with it', async () => {
    const [a, b] = pictures('a', 'b')
    const records = [withPictures('one', a, b), note('plain'), withPictures('two', b)]
    const result = await write(records, [a, b])
    expect(outcomes(result)).toEqual({ one: 'created', plain: 'created', two: 'created' })
    expect(result.uploaded).toEqual({ count: 2, bytes: a.bytes.length + b.bytes.length })
    // One that two records refer to goes up once.
    expect(proxy.order).toEqual(['uploadBlob', 'uploadBlob', 'applyWrites'])
    expect(uploadedCids().sort()).toEqual([a.cid, b.cid].sort())
    expect(proxy.uploads.map(({ mimeType }) => mimeType)).toEqual(['image/png', 'image/png'])
    expect(spent()).toEqual({ commits: 1, points: 9 })
    await expectRepo(records)
    await expectServed(a, b)
  })

  test('without a supply of them, the record that needs one is failed, as the PDS says', async () => {
    const [a] = pictures('unsupplied')
    const result = await writeRecords([withPictures('one', a), note('plain')], { session, readRepo })
    expect(outcomes(result)).toEqual({ one: 'failed', plain: 'created' })
    expect(result.records.find(({ rkey }) => rkey === 'one')?.reason).toContain(
      `BlobNotFound: Could not find blob: ${a.cid}`,
    )
    expect(result.uploaded).toBeUndefined()
  })

  test('that are served already are not uploaded again, in this run or the next', async () => {
    const [a, b] = pictures('served', 'new')
    await write([withPictures('before', a)], [a])
    proxy.order.length = 0
    const records = [withPictures('one', a), withPictures('two', b)]
    expect(outcomes(await write(records, [a, b]))).toEqual({ one: 'created', two: 'created' })
    expect(proxy.order).toEqual(['uploadBlob', 'applyWrites'])
    expect(await write(records, [a, b])).toMatchObject({ commits: 0, asked: 0, uploaded: { count: 0 } })
    await expectRepo([withPictures('before', a), ...records])
  })

  test('come batch by batch, each once, and batches without any ask for nothing', async () => {
    const all = pictures('1', '2', '3')
    const [first, second] = all
    const plain = Array.from({ length: 397 }, (_, index) => note(`plain-${index}`))
    const records = [withPictures('x', first), ...plain, withPictures('y', first), withPictures('z', second)]
    const result = await write(records, all)
    expect(result).toMatchObject({ commits: 2, points: 1200, uploaded: { count: 2 }, asked: 2 })
    expect(proxy.order).toEqual(['uploadBlob', 'applyWrites', 'uploadBlob', 'applyWrites'])
    expect(
      await write(
        Array.from({ length: 201 }, (_, n) => note(`more-${n}`)),
        [],
      ),
    ).toMatchObject({
      commits: 2,
      asked: 0,
    })
    expect(proxy.uploads).toHaveLength(2)
    await expectServed(first, second)
  })

  test('come before each putRecord as well', async () => {
    const [a, b] = pictures('put-a', 'put-b')
    const records = [withPictures('one', a), withPictures('two', b)]
    expect(await write(records, [a, b], { way: 'putRecord' })).toMatchObject({ commits: 2, points: 4 })
    expect(proxy.order).toEqual(['uploadBlob', 'putRecord', 'uploadBlob', 'putRecord'])
    await expectServed(a, b)
  })
})

describe('a record whose blob', () => {
  test('is nowhere is refused alone, and costs no points', async () => {
    const [there, lost] = pictures('there', 'lost')
    const records = [withPictures('good', there), withPictures('bad', lost, there), note('plain')]
    const result = await write(records, [there])
    expect(outcomes(result)).toEqual({ good: 'created', bad: 'refused', plain: 'created' })
    expect(result.records.find(({ rkey }) => rkey === 'bad')).toMatchObject({
      refusal: 'blob-missing',
      reason: `blob ${lost.cid} (image/png) at $.refs[0]: no source has it`,
    })
    expect(spent()).toEqual({ commits: 1, points: 6 })
    expect(result.points).toBe(6)
    await expectRepo([withPictures('good', there), note('plain')])
    await expectServed(there)
  })

  test('cannot be had now is not refused: the run ends, and can go on', async () => {
    const [a] = pictures('later')
    const records = [withPictures('one', a)]
    await expect(write(records, new UnavailableError('no answer'))).rejects.toMatchObject({
      name: 'UnavailableError',
      hint: expect.stringContaining('later'),
    })
    expect(spent()).toEqual({ commits: 0, points: 0 })
    expect(outcomes(await write(records, [a]))).toEqual({ one: 'created' })
  })

  test.each([
    ['another type', { mimeType: 'image/jpeg' }, 'the PDS finds it to be image/png'],
    ['another size', { size: 5 }, 'bytes, and the record says 5'],
  ])('is %s than the record says is refused before its batch is sent', async (_, wrong, reason) => {
    const [a, b] = pictures('wrong', 'right')
    const bad = note('bad', { ...blobOf(a), ...wrong })
    const result = await write([withPictures('good', b), bad], [a, b])
    expect(outcomes(result)).toEqual({ good: 'created', bad: 'refused' })
    expect(result.records.find(({ rkey }) => rkey === 'bad')).toMatchObject({
      refusal: 'blob-missing',
      reason: expect.stringContaining(reason),
    })
    expect(spent()).toEqual({ commits: 1, points: 3 })
  })

  test('the PDS has taken as another type before is refused alone, though the PDS does not say which it is', async () => {
    const bytes = Buffer.from('words that no PDS knows the type of')
    const cid = cidOfBytes(bytes)
    const text = { cid, bytes, mimeType: 'text/csv' }
    await outside.uploadBlob(bytes, 'text/plain')
    const ref = { $type: 'blob', ref: { $link: cid }, mimeType: 'text/csv', size: bytes.length }
    const [a] = pictures('neighbour')
    const records = [note('n-0'), note('n-1'), note('bad', ref), withPictures('n-2', a)]
    const result = await write(records, [text as unknown as Picture, a])
    expect(outcomes(result)).toEqual({
      bad: 'refused',
      'n-0': 'created',
      'n-1': 'created',
      'n-2': 'created',
    })
    expect(result.records.find(({ rkey }) => rkey === 'bad')).toMatchObject({
      refusal: 'blob-missing',
      reason: expect.stringContaining(
        'InvalidMimeType: Referenced Mimetype does not match stored blob. Expected: text/plain, Got: text/csv',
      ),
    })
    // All four; two of them; of the other two, one of which it must be, the first; the last.
    expect(proxy.calls.map(({ status, operations }) => [status, operations.length])).toEqual([
      [400, 4],
      [200, 2],
      [400, 1],
      [200, 1],
    ])
    expect(result.points).toBe(3 * 8)
  })
})

describe('an upload', () => {
  test.each([
    ['whose answer is lost', 'lose'],
    ['whose connection breaks', 'reset'],
    ['that the PDS fails in', { status: 500 }],
  ] as const)('%s is repeated, and its batch goes once', async (_, fault) => {
    const [a, b] = pictures('fault-a', 'fault-b')
    proxy.nextUploads = [fault]
    const records = [withPictures('one', a), withPictures('two', b)]
    const result = await write(records, [a, b])
    expect(result).toMatchObject({ commits: 1, points: 6, uploaded: { count: 2 } })
    expect(proxy.uploads).toHaveLength(3)
    expect(result.state.uploads?.windows[0]?.spent).toBe(3)
    expect(spent()).toEqual({ commits: 1, points: 6 })
    await expectRepo(records)
    await expectServed(a, b)
  })

  test('that never gets through ends the run, which can go on', async () => {
    const [a] = pictures('outage')
    proxy.nextUploads = ['reset', 'lose', { status: 500 }]
    const records = [note('plain'), withPictures('one', a)]
    await expect(write(records, [a])).rejects.toMatchObject({ name: 'UnavailableError', exitCode: 75 })
    expect(spent()).toEqual({ commits: 0, points: 0 })
    expect(await write(records, [a])).toMatchObject({ commits: 1, points: 6 })
    await expectRepo(records)
  })

  test('with a dead session ends the run before anything is written', async () => {
    const [a] = pictures('dead')
    proxy.nextUploads = [{ status: 401, error: 'InvalidToken', message: 'Token has been revoked' }]
    await expect(write([withPictures('one', a)], [a])).rejects.toMatchObject({ name: 'SessionError' })
    expect(spent()).toEqual({ commits: 0, points: 0 })
  })

  test('that expired before its record was written is made once more', async () => {
    const [a, b] = pictures('expired', 'kept')
    const records = [withPictures('one', a), withPictures('two', b)]
    proxy.beforeWrite = async ({ operations }) => {
      if (operations.length === 2 && proxy.calls.length === 1) await expire(a)
    }
    // Else the commits that make it expire would be noticed first.
    const result = await write(records, [a, b], { state: { ...newWriteState(), isBusy: true } })
    expect(outcomes(result)).toEqual({ one: 'created', two: 'created' })
    expect(proxy.calls.map(({ status, error }) => error ?? status)).toEqual(['BlobNotFound', 200])
    expect(proxy.order.slice(-3)).toEqual(['uploadBlob', 'uploadBlob', 'applyWrites'])
    expect(spent()).toEqual({ commits: 1, points: 12 })
    expect(result.points).toBe(12)
    await expectRepo(records)
    await expectServed(a, b)
  })

  test('whose bytes the PDS has lost, which it says by a 500, is made once more', async () => {
    const [a] = pictures('bytes-lost')
    const records = [withPictures('one', a), note('two'), note('three')]
    proxy.beforeWrite = async () => {
      if (proxy.calls.length === 1) await rm(join(folder, 'blobs-temp', account.did), { recursive: true })
    }
    expect(await write(records, [a])).toMatchObject({ commits: 2, uploaded: { count: 2 } })
    expect(proxy.calls.map(({ status, operations }) => [status, operations.length])).toEqual([
      [500, 3],
      // A half, as after any 500; then the rest.
      [200, 1],
      [200, 2],
    ])
    expect(proxy.order.indexOf('uploadBlob', 1)).toBe(2)
    expect(spent()).toEqual({ commits: 2, points: 18 })
    await expectRepo(records)
    await expectServed(a)
  })

  test('that expires every time costs its record, not the neighbours', async () => {
    const [a, b] = pictures('unstable', 'stable')
    const records = [withPictures('n-0', b), withPictures('bad', a), note('n-1'), note('n-2')]
    proxy.beforeWrite = async ({ operations }) => {
      if (operations.some(({ rkey }) => rkey === 'bad')) await expire(a)
    }
    const result = await write(records, [a, b], { state: { ...newWriteState(), isBusy: true } })
    expect(outcomes(result)).toEqual({ bad: 'refused', 'n-0': 'created', 'n-1': 'created', 'n-2': 'created' })
    expect(result.records.find(({ rkey }) => rkey === 'bad')).toMatchObject({
      refusal: 'blob-missing',
      reason: expect.stringContaining(`Could not find blob: ${a.cid}`),
    })
    // Twice with it, which the PDS counts, and once without: it named the blob, nothing had to be searched.
    expect(proxy.calls.map(({ operations }) => operations.length)).toEqual([4, 4, 3])
    expect(spent()).toEqual({ commits: 1, points: 12 + 12 + 9 })
    await expectRepo(records.filter(({ rkey }) => rkey !== 'bad'))
    await expectServed(b)
  })
})

describe('a step that may be ended by force', () => {
  test('writes the records whose pictures are there when its time is over, and the next goes on behind them', async () => {
    const all = Array.from({ length: 12 }, (_, index) => pictureOf(`step-${index}`))
    const records = all.map((picture, index) => withPictures(`s-${index}`, picture))
    let left: readonly RecordToWrite[] = records
    let state = newWriteState()
    const counts: number[] = []
    while (left.length > 0) {
      // A clock that ticks with each upload: time for three, and those that are under way with the third.
      const before = proxy.uploads.length
      const now = () => DAY_MS + proxy.uploads.length
      const result = await write(left, all, { state, now, deadlineMs: DAY_MS + before + 3 })
      expect(result.wait).toBeUndefined()
      expect(result.commits).toBe(1)
      counts.push(left.length - result.left.length)
      left = result.left
      state = JSON.parse(JSON.stringify(result.state))
      await expectRepo(records.slice(0, records.length - left.length))
    }
    expect(Math.min(...counts)).toBeGreaterThan(0)
    expect(Math.max(...counts)).toBeLessThanOrEqual(3 + 4)
    expect(proxy.uploads).toHaveLength(12)
    expect(spent()).toEqual({ commits: counts.length, points: 36 })
    await expectServed(...all)
  })
})

describe('a limit of uploads', () => {
  test('of a day writes what is in front of it, waits, and goes on with the rest', async () => {
    const all = pictures('d1', 'd2', 'd3', 'd4', 'd5')
    const records = [note('p-0'), ...all.map((picture, n) => withPictures(`d-${n}`, picture)), note('p-1')]
    let nowMs = Date.now()
    const startMs = nowMs
    const now = () => nowMs
    const first = await write(records, all, {
      now,
      state: { ...newWriteState(), uploads: newUploadBudget(3) },
    })
    expect(Object.keys(outcomes(first))).toEqual(['p-0', 'd-0', 'd-1', 'd-2'])
    expect(first).toMatchObject({ commits: 1, points: 12, uploaded: { count: 3 } })
    // In their order: p-1 may hang on one of those before it.
    expect(first.left.map(({ rkey }) => rkey)).toEqual(['d-3', 'd-4', 'p-1'])
    expect(first.wait).toEqual({ untilMs: startMs + DAY_MS, points: 3, uploads: 1 })
    await expectRepo(records.slice(0, 4))

    const state = JSON.parse(JSON.stringify(first.state))
    nowMs = startMs + DAY_MS - 1000
    const early = await write(first.left, all, { now, state })
    expect(early).toMatchObject({ records: [], commits: 0, wait: { uploads: 1 } })
    nowMs = early.wait?.untilMs ?? 0
    const second = await write(early.left, all, { now, state: JSON.parse(JSON.stringify(early.state)) })
    expect(second).toMatchObject({ left: [], commits: 1, points: 9, uploaded: { count: 2 } })
    expect(second.wait).toBeUndefined()
    expect(spent()).toEqual({ commits: 2, points: 21 })
    expect(uploadedCids().sort()).toEqual(all.map(({ cid }) => cid).sort())
    await expectRepo(records)
    await expectServed(...all)
  })

  test('does not keep records back whose blobs are there', async () => {
    const [a] = pictures('there')
    await outside.uploadBlob(a.bytes, a.mimeType)
    await outside.applyWrites([createOf(withPictures('before', a))])
    const state = {
      ...newWriteState(),
      uploads: { ...newUploadBudget(), closedUntilMs: Date.now() + 60_000 },
    }
    expect(await write([withPictures('one', a), note('two')], [], { state })).toMatchObject({
      commits: 1,
      left: [],
    })
  })

  test('told by a 429 waits until then, whatever that says of the points', async () => {
    const [a, b] = pictures('l1', 'l2')
    const records = [note('plain'), withPictures('one', a), withPictures('two', b)]
    const resetMs = (Math.floor(Date.now() / 1000) + 3000) * 1000
    proxy.nextUploads = [
      'pass',
      {
        status: 429,
        error: 'RateLimitExceeded',
        message: 'Rate Limit Exceeded',
        headers: {
          'ratelimit-limit': '1000',
          'ratelimit-remaining': '0',
          'ratelimit-reset': String(resetMs / 1000),
          // As long as the points' day, and not it.
          'ratelimit-policy': '1000;w=86400',
          'retry-after': '3000',
        },
      },
    ]
    let nowMs = Date.now()
    const now = () => nowMs
    const first = await write(records, [a, b], { now })
    expect(first.records.length + first.left.length).toBe(3)
    expect(first.wait).toMatchObject({ uploads: 1, points: 3 })
    expect(Math.abs((first.wait?.untilMs ?? 0) - resetMs)).toBeLessThan(2000)
    expect(available(first.state.budget, nowMs)).toBe(5000 - first.points)
    nowMs = first.wait?.untilMs ?? 0
    const second = await write(first.left, [a, b], { now, state: first.state })
    expect(second.left).toEqual([])
    expect(spent()).toEqual({ commits: first.commits + second.commits, points: 9 })
    expect(first.commits + second.commits).toBe(2)
    await expectRepo(records)
    await expectServed(a, b)
  })

  test('that says nothing is asked again after ever longer pauses, and at last given up', async () => {
    const [a] = pictures('silent')
    let nowMs = Date.now()
    const startMs = nowMs
    proxy.nextUploads = Array.from({ length: 20 }, () => ({ status: 429 }))
    let state = newWriteState()
    const minutes: number[] = []
    const ended = async (): Promise<never> => {
      for (;;) {
        const result = await write([withPictures('one', a)], [a], { now: () => nowMs, state })
        minutes.push(Math.round(((result.wait?.untilMs ?? 0) - nowMs) / 60_000))
        nowMs = result.wait?.untilMs ?? 0
        state = result.state
      }
    }
    await expect(ended()).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(minutes).toEqual([1, 1, 2, 4, 8, 16, 32])
    expect(proxy.uploads).toHaveLength(8)
    expect(nowMs).toBeGreaterThan(startMs)
    expect(spent()).toEqual({ commits: 0, points: 0 })
  })
})
