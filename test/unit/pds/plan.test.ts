import { describe, expect, test } from 'vitest'
import type { LostRecord, RefusedRecord } from '../../../src/pds/lost-record.ts'
import { type ConflictPolicy, planWrite } from '../../../src/pds/plan.ts'
import { cidOfRecord, encodeRecord } from '../../../src/repo/record.ts'
import type { RepoRecord, VerifiedRepo } from '../../../src/repo/verified-repo.ts'

const DID = 'did:plc:author'
const NOTE = 'com.example.note'
const json = (text: string) => ({ $type: NOTE, text })
const uriOf = (rkey: string) => `at://${DID}/${NOTE}/${rkey}`

function lost(rkey: string, text = rkey): LostRecord {
  const { cid, bytes } = encodeRecord(json(text))
  return {
    uri: uriOf(rkey),
    collection: NOTE,
    rkey,
    cid: cid.toString(),
    bytes: bytes.length,
    record: json(text),
    originalCid: undefined,
    proof: 'self-consistent',
  }
}
const refused = (rkey: string): RefusedRecord => ({
  uri: uriOf(rkey),
  refusal: 'unencodable',
  reason: 'no $type',
  originalCid: undefined,
})
function repoOf(texts: Record<string, string>): VerifiedRepo {
  const records = new Map<string, RepoRecord>(
    Object.entries(texts).map(([rkey, text]) => {
      const { cid, bytes } = encodeRecord(json(text))
      return [`${NOTE}/${rkey}`, { collection: NOTE, rkey, cid, bytes }]
    }),
  )
  return {
    did: DID,
    rev: '3aaaaaaaaaaa2',
    commit: encodeRecord(json('commit')).cid,
    recordCount: records.size,
    records: () => records.values(),
    get: (collection, rkey) => records.get(`${collection}/${rkey}`),
  }
}

describe('each record has its action', () => {
  const records = [lost('gone'), lost('there'), lost('other'), refused('broken')]
  const repo = repoOf({ there: 'there', other: 'rewritten', unrelated: 'x' })

  test.each<[ConflictPolicy | undefined, string]>([
    [undefined, 'overwrite'],
    ['overwrite', 'overwrite'],
    ['keep', 'keep'],
    ['fail', 'refuse'],
  ])('with %s', (policy, action) => {
    const plan = planWrite(records, repo, policy)
    expect(plan.records.map((record) => record.action)).toEqual(['create', 'same', action, 'refuse'])
    expect(Object.values(plan.counts).reduce((a, b) => a + b)).toBe(records.length)
    expect(plan).toMatchObject({ did: DID, rev: repo.rev })
  })

  test('names both CIDs of a conflict', () => {
    const [other] = planWrite([lost('other')], repo).records
    expect(other).toMatchObject({
      cid: cidOfRecord(json('other')),
      currentCid: cidOfRecord(json('rewritten')),
    })
  })

  test('bytes are of what is to be written, and nothing else', () => {
    const bytesOf = (rkey: string) => lost(rkey).bytes
    expect(planWrite(records, repo).bytes).toBe(bytesOf('gone') + bytesOf('other'))
    expect(planWrite(records, repo, 'keep').bytes).toBe(bytesOf('gone'))
  })

  test('a conflict refused is told as one, and is no broken record', () => {
    const plan = planWrite(records, repo, 'fail')
    expect(plan.records.map(({ refusal }) => refusal)).toEqual([
      undefined,
      undefined,
      'conflict',
      'unencodable',
    ])
  })

  test('holds no bodies', () => {
    expect(JSON.stringify(planWrite(records, repo))).not.toContain('rewritten')
  })
})

test.each<ConflictPolicy>(['overwrite', 'keep', 'fail'])(
  'what its author edited and never lost is kept, whatever the policy: %s',
  (policy) => {
    const plan = planWrite(
      [lost('a'), lost('b')],
      repoOf({ a: 'edited', b: 'b' }),
      policy,
      new Set([uriOf('a'), uriOf('b')]),
    )
    expect(plan.records.map(({ action }) => action)).toEqual(['keep', 'same'])
    expect(plan.records[0]?.reason).toContain('edited')
    expect(plan.bytes).toBe(0)
  },
)
