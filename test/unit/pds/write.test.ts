import { describe, expect, test } from 'vitest'
import { PdsError, UnavailableError } from '../../../src/errors.ts'
import type { JsonObject } from '../../../src/events.ts'
import { available, newBudget } from '../../../src/pds/budget.ts'
import type { PutRecord, Session, WriteOp } from '../../../src/pds/session.ts'
import { type RecordToWrite, type WriteOptions, writeRecords } from '../../../src/pds/write.ts'
import { newWriteState } from '../../../src/pds/write-state.ts'
import { cidOfRecord, encodeRecord } from '../../../src/repo/record.ts'
import type { VerifiedRepo } from '../../../src/repo/verified-repo.ts'

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

  test('a record that the host refuses costs only itself', async () => {
    const host = new Host()
    host.fail = (paths) =>
      paths.includes('r-5') ? new PdsError('no', { error: 'InvalidRequest' }) : undefined
    const result = await host.write(entries(20))
    expect(result.records.filter(({ outcome }) => outcome === 'created')).toHaveLength(19)
    expect(outcomes(result)['r-5']).toBe('failed')
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
  cidsOf: (cids: string[]) => string[] | undefined = (cids) => cids
  #commit = 0

  constructor(records: Record<string, JsonObject> = {}) {
    this.records = new Map(Object.entries(records))
  }

  write(records: readonly RecordToWrite[], options: Partial<WriteOptions> = {}) {
    const readRepo = async () => this.#repo()
    return writeRecords(records, { session: this.#session(), readRepo, now: () => this.nowMs, ...options })
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
      verify: async () => undefined,
      applyWrites: async (writes, swapCommit) => this.#batch(writes, swapCommit),
      putRecord: async (put) => this.#put(put),
      uploadBlob: async () => {
        throw new Error('no blobs here')
      },
    }
  }

  #batch(writes: WriteOp[], swapCommit: string | undefined) {
    this.calls.push({ kind: 'batch', size: writes.length, swapCommit })
    if (this.calls.length === this.moveBefore) this.#commit++
    const failure = this.fail(writes.map(({ rkey = '' }) => rkey))
    if (failure !== undefined) throw failure
    if (swapCommit !== undefined && swapCommit !== `commit-${this.#commit}`)
      throw new PdsError('moved', { error: 'InvalidSwap' })
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
