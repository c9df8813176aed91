import { describe, expect, test } from 'vitest'
import { planBatches } from '../../../src/inngest/plan-batches.ts'
import type { WriteRequest } from '../../../src/inngest/request.ts'
import { encodeRecord } from '../../../src/repo/record.ts'
import type { VerifiedRepo } from '../../../src/repo/verified-repo.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const COLLECTION = 'com.example.post'

function entry(rkey: string, text = 'lost'): WriteRequest['records'][number] {
  return { collection: COLLECTION, rkey, record: { $type: COLLECTION, text } }
}

function repoWith(...records: WriteRequest['records']): VerifiedRepo {
  const held = new Map(records.map((record) => [record.rkey, encodeRecord(record.record)]))
  return {
    did: DID,
    rev: '3k2aaaaaaaaaa',
    commit: encodeRecord({ $type: 'commit' }).cid,
    recordCount: held.size,
    records: () => [].values(),
    get(collection, rkey) {
      const found = held.get(rkey)
      return found && { collection, rkey, cid: found.cid, bytes: found.bytes }
    },
  }
}

describe('planBatches', () => {
  test('settles what needs no write, and names the rest by index', () => {
    const records = [entry('same'), entry('new'), entry('again'), entry('bad', 1.5 as unknown as string)]
    const repo = repoWith(entry('same'), entry('again', 'other'))
    const plan = planBatches({ did: DID, records }, repo)
    expect(plan.batches).toEqual([{ records: [1, 2], overwrites: [2] }])
    expect(plan.settled.outcomes).toMatchObject({ same: 1, refused: 1, kept: 0 })
    expect(plan.settled.notWritten).toMatchObject([
      { rkey: 'bad', outcome: 'refused', refusal: 'unencodable' },
    ])
    expect(plan.head).toEqual({ commit: repo.commit.toString(), rev: repo.rev })
  })

  test.each([
    ['keep', { kept: 1, refused: 0 }],
    ['fail', { kept: 0, refused: 1 }],
  ] as const)('where another record is there, by policy: %s', (onConflict, outcomes) => {
    const plan = planBatches({ did: DID, records: [entry('a')], onConflict }, repoWith(entry('a', 'other')))
    expect(plan.batches).toEqual([])
    expect(plan.settled.outcomes).toMatchObject(outcomes)
  })

  test('plans what is left of a request: indices stay, and what has landed counts as asked', () => {
    const records = [entry('done'), entry('landed'), entry('left')]
    const plan = planBatches({ did: DID, records }, repoWith(entry('landed')), {
      among: [1, 2],
      outcomeOfSame: () => 'created',
    })
    expect(plan.batches).toEqual([{ records: [2], overwrites: [] }])
    expect(plan.settled.outcomes).toMatchObject({ created: 1, same: 0 })
  })

  test('carries no bodies, and no more than 200 records a batch', () => {
    const records = Array.from({ length: 450 }, (_, index) => entry(`r${index}`, 'body of a record'))
    const plan = planBatches({ did: DID, records }, repoWith())
    expect(plan.batches.map((batch) => batch.records.length)).toEqual([200, 200, 50])
    expect(JSON.stringify(plan)).not.toContain('body of')
  })
})
