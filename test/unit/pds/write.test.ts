import { XRPCError } from '@atproto/api'
import { describe, expect, test } from 'vitest'
import { PdsError, SessionError, UnavailableError } from '../../../src/errors.ts'
import type { JsonObject } from '../../../src/events.ts'
import { BlobFinder } from '../../../src/pds/blobs/finder.ts'
import { available, newBudget } from '../../../src/pds/budget.ts'
import type { PutRecord, Session, WriteOp } from '../../../src/pds/session.ts'
import { type RecordToWrite, type WriteOptions, writeRecords } from '../../../src/pds/write.ts'
import { newWriteState, type WriteState } from '../../../src/pds/write-state.ts'
import { cidOfBytes } from '../../../src/repo/blob-cid.ts'
import { cidOfRecord, encodeRecord } from '../../../src/repo/record.ts'
import type { VerifiedRepo } from '../../../src/repo/verified-repo.ts'
import { memorySource, testBlob } from './blobs/blobs.ts'

const COLLECTION = 'com.example.post'
const NOW = 1_800_000_000_000

describe('writeRecords', () => {
  test('reads the repo, writes what is missing, and says what became of each', async () => {
    const host = new Host({ same: entry('same').record, old: entry('other').record })
    const result = await host.write([entry('same'), entry('old'), entry('new')])
    expect(outcomes(result)).toEqual({ same: 'same', old: 'overwritten', new: 'created' })
    expect(result).toMatchObject({ commits: 1, points: 5, left: [] })
    expect(result.wait).toBeUndefined()
    expect(host.reads).toBe(1)
  })

  test('a record that the host stored as another one is failed', async () => {
    const host = new Host()
    host.cidsOf = (cids) => cids.with(1, 'bafyother')
    const result = await host.write([entry('a'), entry('b')])
    expect(outcomes(result)).toEqual({ a: 'created', b: 'failed' })
    expect(result.records[1]?.reason).toContain('bafyother')
  })

  test('a host that does not say what it stored is asked at the end, once', async () => {
    const host = new Host()
    host.cidsOf = () => undefined
    const result = await host.write(entries(450))
    expect(result.records.every(({ outcome }) => outcome === 'created')).toBe(true)
    expect(host.reads).toBe(2)
  })

  test('an entry given twice, or that cannot be encoded, is refused and costs nothing', async () => {
    const host = new Host()
    const bad = { ...entry('bad'), record: { ...entry('bad').record, size: 1.5 } }
    const result = await host.write([entry('a'), entry('a'), bad])
    expect(result.records.map(({ outcome }) => outcome)).toEqual(['refused', 'refused', 'created'])
    expect(result.points).toBe(3)
  })

  test('after another commit came in between, no call depends on the commit before it', async () => {
    const host = new Host({ 'r-1': { $type: COLLECTION, text: 'another' } })
    host.moveBefore = 1
    const result = await host.write(entries(4))
    expect(outcomes(result)).toEqual({
      'r-0': 'created',
      'r-1': 'overwritten',
      'r-2': 'created',
      'r-3': 'created',
    })
    expect(host.calls).toEqual([
      { kind: 'batch', size: 4, swapCommit: 'commit-0' },
      { kind: 'batch', size: 1, swapCommit: undefined },
      { kind: 'put', swapRecord: cidOfRecord({ $type: COLLECTION, text: 'another' }) },
      { kind: 'batch', size: 2, swapCommit: undefined },
    ])
    expect(result).toMatchObject({ commits: 3, points: 11 + 3 + 2 + 6 })
    expect(result.state.isBusy).toBe(true)
  })

  test('a state that never holds still ends the call', async () => {
    const host = new Host()
    host.fail = () => new PdsError('moved', { error: 'InvalidSwap' })
    await expect(host.write(entries(2))).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(host.calls).toHaveLength(5)
  })

  test('who makes the same records all the time makes each call smaller, and ends it at last', async () => {
    const host = new Host()
    host.before = (rkeys) => {
      const [theirs = ''] = rkeys.filter((rkey) => !host.records.has(rkey)).slice(-1)
      host.records.set(theirs, entry(theirs).record)
    }
    await expect(host.write(entries(1000))).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('kept changing'),
    })
    expect(host.calls).toMatchObject([{ size: 200 }, { size: 100 }, { size: 50 }, { size: 25 }, { size: 12 }])
  })

  test('calls grow again when nobody is in the way any more', async () => {
    const host = new Host()
    host.before = () => {
      if (host.calls.length === 1) host.records.set('r-7', entry('r-7').record)
    }
    const result = await host.write(entries(500))
    expect(host.calls.map((call) => call.kind === 'batch' && call.size)).toEqual([200, 100, 200, 199])
    expect(result).toMatchObject({ commits: 3, points: 600 + 499 * 3 })
    expect(outcomes(result)['r-7']).toBe('same')
  })

  test('stops where the points end, and goes on with what is left', async () => {
    const host = new Host()
    const state = newWriteState(newBudget({ perHour: 100, perDay: 1000 }))
    const first = await host.write(entries(50), { state })
    expect(first.records).toHaveLength(33)
    expect(first.left).toHaveLength(17)
    expect(first.wait).toEqual({ untilMs: NOW + 3_600_000, points: 3 })
    expect(first.state.head).toBeUndefined()

    host.nowMs = NOW + 3_600_000
    const state2 = JSON.parse(JSON.stringify(first.state))
    const second = await host.write(first.left, { state: state2 })
    expect(second).toMatchObject({ left: [], points: 51 })
    expect(host.records.size).toBe(50)
    expect(available(second.state.budget, host.nowMs)).toBe(49)
  })

  test('what was spent is told even if the call throws', async () => {
    const host = new Host()
    host.fail = () => new UnavailableError('out')
    let left = 0
    const onBudget: WriteOptions['onBudget'] = (budget) => {
      left = available(budget, NOW)
    }
    await expect(host.write(entries(1), { onBudget })).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(left).toBe(5000 - 3 * host.calls.length)
  })
})

describe('records that the host refuses', () => {
  const refuse = (host: Host, ...rkeys: string[]) => {
    host.fail = (sent) => (rkeys.some((rkey) => sent.includes(rkey)) ? refusal() : undefined)
  }

  test('one costs only itself, and what passes meanwhile is written once', async () => {
    const host = new Host()
    refuse(host, 'r-5')
    const result = await host.write(entries(20))
    expect(outcomes(result)['r-5']).toBe('failed')
    // r-0 to r-4; r-5 and r-6 to r-9 are among what is refused; then all the rest.
    expect(host.sizes()).toEqual([20, 10, 5, 2, 1, 14])
    expect(result).toMatchObject({ commits: 2, points: 3 * (20 + 10 + 5 + 2 + 1 + 14) })
    expect(host.records.size).toBe(19)
  })

  test('ten of 2,000 cost a bounded number of calls and points each', async () => {
    const host = new Host()
    const bad = Array.from({ length: 10 }, (_, index) => `r-${index * 200 + 37}`)
    refuse(host, ...bad)
    const result = await host.write(entries(2000), { state: unlimited() })
    expect(failedIn(result)).toEqual(bad)
    expect(host.records.size).toBe(1990)
    expect(host.calls).toHaveLength(134)
    expect(host.calls.length - 10).toBeLessThan(10 * 2 * Math.log2(200))
    // 5,970 for the records; the rest is for what was sent in vain.
    expect(result).toMatchObject({ commits: 110, points: 8052 })
    expect(result.state.maxItems).toBe(25)

    host.calls = []
    const again = await host.write(entries(2000), { state: unlimited() })
    expect(failedIn(again).sort()).toEqual(bad.sort())
    expect(again).toMatchObject({ commits: 0, points: 3 * (10 + 5 + 2 + 10) })
  })

  test('the size that they leave is that of the next call, and grows again', async () => {
    const host = new Host()
    const state = { ...unlimited(), maxItems: 50 }
    const result = await host.write(entries(500), { state })
    expect(host.sizes()).toEqual([50, 100, 200, 150])
    expect(result.state).not.toHaveProperty('maxItems')
  })

  test('neighbours do not hide the records behind them', async () => {
    const host = new Host()
    const bad = Array.from({ length: 12 }, (_, index) => `r-${index + 100}`)
    refuse(host, ...bad)
    const result = await host.write(entries(400), { state: unlimited() })
    expect(failedIn(result).sort()).toEqual(bad.sort())
    expect(host.records.size).toBe(388)
    expect(host.calls).toHaveLength(46)
  })

  test('all of them: it is the host, which is not asked any further', async () => {
    const host = new Host()
    host.fail = () => refusal('Forbidden')
    let left = 0
    const onBudget: WriteOptions['onBudget'] = (budget) => {
      left = available(budget, NOW)
    }
    await expect(host.write(entries(2000), { onBudget })).rejects.toMatchObject({
      name: 'PdsError',
      error: 'Forbidden',
      message: expect.stringContaining('1994 more were not tried'),
    })
    expect(host.sizes()).toEqual([200, 100, 50, 25, 12, 6, 3, 1, 1, 1, 1, 1, 1])
    expect(left).toBe(5000 - 3 * 402)
  })

  test('all of a few: each is failed, since all others may be there', async () => {
    const host = new Host()
    host.fail = () => refusal()
    const result = await host.write(entries(12))
    expect(failedIn(result)).toHaveLength(12)
    expect(result).toMatchObject({ commits: 0, points: 3 * (12 + 6 + 3 + 12), left: [] })
  })

  test('neighbours and the very last: it is not the host', async () => {
    const host = new Host()
    refuse(host, 'r-0', 'r-1', 'r-2', 'r-3', 'r-99')
    expect(failedIn(await host.write(entries(100)))).toHaveLength(5)
    expect(host.records.size).toBe(95)
  })

  test('a search that the points end goes on where it was', async () => {
    const host = new Host()
    refuse(host, 'r-150')
    let left: readonly RecordToWrite[] = entries(200)
    let state = newWriteState(newBudget({ perHour: 900, perDay: 1_000_000 }))
    let hours = 0
    for (; left.length > 0; hours++) {
      const result = await host.write(left, { state })
      left = result.left
      state = JSON.parse(JSON.stringify(result.state))
      host.nowMs = result.wait?.untilMs ?? host.nowMs
    }
    expect(hours).toBe(2)
    expect(host.records.size).toBe(199)
  })

  test('for different reasons: each is failed', async () => {
    const host = new Host()
    host.fail = ([rkey = '']) => refusal(`Error${rkey}`)
    expect(failedIn(await host.write(entries(60)))).toHaveLength(60)
  })
})

describe('records that the host fails in', () => {
  const failIn = (host: Host, ...rkeys: string[]) => {
    host.fail = (sent) => (rkeys.some((rkey) => sent.includes(rkey)) ? serverError() : undefined)
  }

  test.each([
    [['r-5']],
    [['r-5', 'r-6']],
    [['r-5', 'r-9']],
    [['r-0', 'r-19']],
    [['r-16', 'r-17', 'r-18', 'r-19']],
  ])('%s: they alone are failed, in this run and in each after it', async (bad) => {
    const host = new Host()
    failIn(host, ...bad)
    for (let run = 1; run <= 3; run++) {
      const result = await host.write(entries(20))
      expect(failedIn(result).sort()).toEqual(bad.toSorted())
      expect(result.left).toEqual([])
      expect(host.records.size).toBe(20 - bad.length)
    }
  })

  test('two cost a bounded number of calls', async () => {
    const host = new Host()
    failIn(host, 'r-5', 'r-6')
    const result = await host.write(entries(20))
    // r-0 to r-4; r-5, and then r-6, are searched for and fail twice over, each alone; what is behind them.
    expect(host.sizes()).toEqual([20, 10, 5, 2, 1, 1, 14, 7, 3, 1, 1, 1, 12])
    expect(result).toMatchObject({ commits: 3 })
  })

  test('a dozen neighbours do not hide the records behind them', async () => {
    const host = new Host()
    const bad = Array.from({ length: 12 }, (_, index) => `r-${index + 100}`)
    failIn(host, ...bad)
    const result = await host.write(entries(400), { state: unlimited() })
    expect(failedIn(result).sort()).toEqual(bad.sort())
    expect(host.records.size).toBe(388)
  })

  test('all of them: an outage, and nothing is failed', async () => {
    const host = new Host()
    host.fail = serverError
    await expect(host.write(entries(60))).rejects.toMatchObject({ name: 'UnavailableError', exitCode: 75 })
    expect(host.sizes()).toEqual([60, 30, 15, 7, 3, ...Array.from({ length: 12 }, () => 1)])
  })

  test('a host that cannot be read either is down: nothing is tried again', async () => {
    const host = new Host()
    host.fail = serverError
    host.failRead = () => (host.calls.length > 0 ? new UnavailableError('down') : undefined)
    await expect(host.write(entries(2))).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(host.calls).toHaveLength(1)
  })

  test('what is left is not failed when the session is not alive', async () => {
    const host = new Host()
    failIn(host, 'r-19')
    host.verify = async () => {
      throw new SessionError('gone')
    }
    await expect(host.write(entries(20))).rejects.toMatchObject({ name: 'SessionError' })
  })

  test('what was set aside goes back to what is left when the points end', async () => {
    const host = new Host()
    failIn(host, 'r-0')
    const state = newWriteState(newBudget({ perHour: 13, perDay: 1000 }))
    const result = await host.write(entries(2), { state })
    expect(result).toMatchObject({ records: [], commits: 0, points: 12, wait: { points: 3 } })
    expect(result.left).toEqual(entries(2).toReversed())
  })
})

describe('a deadline', () => {
  const UPLOAD_MS = 1000

  test('ends the call between two batches, and the next goes on without reading the repo', async () => {
    const host = new Host()
    host.before = () => {
      host.nowMs += 10_000
    }
    const first = await host.write(entries(900), { deadlineMs: NOW + 15_000 })
    expect(first).toMatchObject({ commits: 2, points: 1200 })
    expect(first.left).toHaveLength(500)
    expect(first.wait).toBeUndefined()
    const state = JSON.parse(JSON.stringify(first.state))
    const second = await host.write(first.left, { state })
    expect(second).toMatchObject({ commits: 3, points: 1500, left: [] })
    expect(host.reads).toBe(1)
  })

  test('that has passed already lets one call through, whatever the first ones end in', async () => {
    const host = new Host()
    host.fail = (sent) => (sent.includes('r-0') ? refusal() : undefined)
    const result = await host.write(entries(30), { deadlineMs: NOW })
    expect(outcomes(result)).toEqual({ 'r-0': 'failed' })
    expect(result.left).toHaveLength(29)
    expect(await host.write(result.left, { deadlineMs: NOW, state: result.state })).toMatchObject({
      commits: 1,
      left: [],
    })
  })

  test('cuts a batch between uploads: what is there is written, and no picture goes up twice', async () => {
    const pictures = Array.from({ length: 125 }, (_, index) => testBlob(`picture ${index}`))
    const records = entries(200).map((each, index) => {
      const picture = pictures[index]
      return picture === undefined ? each : { ...each, record: { ...each.record, image: picture.ref } }
    })
    const host = new Host()
    let uploadCount = 0
    host.uploadBlob = async (bytes, mimeType) => {
      uploadCount++
      host.nowMs += UPLOAD_MS
      return { cid: cidOfBytes(bytes), mimeType, size: bytes.length }
    }
    const served = new Set<string>()
    const blobs = {
      isServed: async () => served,
      finder: new BlobFinder('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', [memorySource('folder', pictures)]),
    }
    let left: readonly RecordToWrite[] = records
    let state = unlimited()
    const sizes: number[] = []
    while (left.length > 0) {
      const deadlineMs = host.nowMs + 25 * UPLOAD_MS
      const step = await host.write(left, { blobs, state, deadlineMs })
      expect(step.wait).toBeUndefined()
      expect(host.nowMs).toBeLessThanOrEqual(deadlineMs + 4 * UPLOAD_MS)
      sizes.push(left.length - step.left.length)
      left = step.left
      state = step.state
    }
    expect(sizes).toEqual([28, 28, 28, 28, 88])
    expect(uploadCount).toBe(125)
    expect(host.records.size).toBe(200)
    expect(host.calls).toHaveLength(5)
  })

  test('waits for the blobs of one record at least', async () => {
    const pictures = Array.from({ length: 9 }, (_, index) => testBlob(`picture ${index}`))
    const { record, ...name } = entry('many')
    const many = { ...name, record: { ...record, images: pictures.map(({ ref }) => ref) } }
    const host = new Host()
    host.uploadBlob = async (bytes, mimeType) => ({ cid: cidOfBytes(bytes), mimeType, size: bytes.length })
    const finder = new BlobFinder('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', [memorySource('folder', pictures)])
    const blobs = { isServed: async () => new Set<string>(), finder }
    const result = await host.write([many, entry('b')], { blobs, deadlineMs: NOW })
    expect(result).toMatchObject({ commits: 1, left: [], uploaded: { count: 9 } })
  })
})

test('a putRecord follows the record that it replaces, and no commit', async () => {
  const host = new Host({ old: { $type: COLLECTION, text: 'another' } })
  await host.write([entry('new'), entry('old')], { way: 'putRecord' })
  expect(host.calls).toEqual([
    { kind: 'put', swapRecord: null },
    { kind: 'put', swapRecord: cidOfRecord({ $type: COLLECTION, text: 'another' }) },
  ])
})

function refusal(error = 'InvalidRequest'): PdsError {
  return new PdsError('no', { error })
}

function serverError(): UnavailableError {
  return new UnavailableError('500', { cause: new XRPCError(500, 'InternalServerError') })
}

function failedIn({ records }: { records: { rkey: string; outcome: string }[] }): string[] {
  return records.filter(({ outcome }) => outcome === 'failed').map(({ rkey }) => rkey)
}

/** A host whose points do not end. */
function unlimited(): WriteState {
  return newWriteState(newBudget({ perHour: 1_000_000, perDay: 1_000_000 }))
}

function entry(rkey: string): RecordToWrite {
  return { collection: COLLECTION, rkey, record: { $type: COLLECTION, text: rkey } }
}

function entries(count: number): RecordToWrite[] {
  return Array.from({ length: count }, (_, index) => entry(`r-${index}`))
}

function outcomes({ records }: { records: { rkey: string; outcome: string }[] }): Record<string, string> {
  return Object.fromEntries(records.map(({ rkey, outcome }) => [rkey, outcome]))
}

type HostCall =
  | { kind: 'batch'; size: number; swapCommit: string | undefined }
  | { kind: 'put'; swapRecord: string | null }

/** A PDS as far as writing goes: one repo, commits by number. */
class Host {
  records: Map<string, JsonObject>
  calls: HostCall[] = []
  reads = 0
  nowMs = NOW
  /** The number of the call before which someone else commits. */
  moveBefore = 0
  fail: (rkeys: string[]) => Error | undefined = () => undefined
  /** Someone else's doing, without a commit that a swap would notice. */
  before: (rkeys: string[]) => void = () => undefined
  cidsOf: (cids: string[]) => string[] | undefined = (cids) => cids
  failRead: () => Error | undefined = () => undefined
  verify: Session['verify'] = async () => undefined
  uploadBlob: Session['uploadBlob'] = async () => {
    throw new Error('no blobs here')
  }
  #commit = 0

  constructor(records: Record<string, JsonObject> = {}) {
    this.records = new Map(Object.entries(records))
  }

  write(records: readonly RecordToWrite[], options: Partial<WriteOptions> = {}) {
    const readRepo = async () => {
      const failure = this.failRead()
      if (failure !== undefined) throw failure
      return this.#repo()
    }
    return writeRecords(records, { session: this.#session(), readRepo, now: () => this.nowMs, ...options })
  }

  /** Of each call of applyWrites. */
  sizes(): number[] {
    return this.calls.flatMap((call) => (call.kind === 'batch' ? [call.size] : []))
  }

  #repo(): VerifiedRepo {
    this.reads++
    const { records } = this
    const commit = `commit-${this.#commit}` as unknown as VerifiedRepo['commit']
    return {
      did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa',
      rev: '3k2aaaaaaaaaa',
      commit,
      recordCount: records.size,
      records: () => [].values(),
      get(collection, rkey) {
        const record = records.get(rkey)
        return record && { collection, rkey, ...encodeRecord(record) }
      },
    }
  }

  #session(): Session {
    return {
      did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa',
      verify: () => this.verify(),
      applyWrites: async (writes, swapCommit) => this.#batch(writes, swapCommit),
      putRecord: async (put) => this.#put(put),
      uploadBlob: (bytes, mimeType) => this.uploadBlob(bytes, mimeType),
    }
  }

  #batch(writes: WriteOp[], swapCommit: string | undefined) {
    this.calls.push({ kind: 'batch', size: writes.length, swapCommit })
    if (this.calls.length === this.moveBefore) this.#commit++
    this.before(writes.map(({ rkey = '' }) => rkey))
    const failure = this.fail(writes.map(({ rkey = '' }) => rkey))
    if (failure !== undefined) throw failure
    if (swapCommit !== undefined && swapCommit !== `commit-${this.#commit}`)
      throw new PdsError('moved', { error: 'InvalidSwap' })
    const isThere = ({ $type, rkey = '' }: WriteOp) => $type?.endsWith('#create') && this.records.has(rkey)
    if (writes.some(isThere)) throw new UnavailableError('500')
    const values = writes.map((write) => {
      if (!('value' in write)) throw new Error('nothing is deleted here')
      const record = write.value as JsonObject
      this.records.set(write.rkey ?? '', record)
      return cidOfRecord(record)
    })
    const cids = this.cidsOf(values)
    return { ...this.#committed(), ...(cids === undefined ? {} : { cids }) }
  }

  #put({ rkey, record, swapRecord }: PutRecord) {
    this.calls.push({ kind: 'put', swapRecord })
    this.records.set(rkey, record)
    return { ...this.#committed(), cid: cidOfRecord(record) }
  }

  #committed() {
    this.#commit++
    return { commit: `commit-${this.#commit}`, rev: '3k2aaaaaaaaab' }
  }
}
