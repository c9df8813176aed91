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
      new Map([uriOf('a'), uriOf('b')].map((uri) => [uri, 'edited by its author'])),
    )
    expect(plan.records.map(({ action }) => action)).toEqual(['keep', 'same'])
    expect(plan.records[0]?.reason).toContain('edited')
    expect(plan.bytes).toBe(0)
  },
)

describe('what a plan says beside the actions', () => {
  const repo = repoOf({ other: 'rewritten' })
  const day = 24 * 60 * 60 * 1000
  const blobs = (upload: number, uploadDays: number) => ({
    counts: { served: 0, upload, missing: 0 },
    uploadBytes: 0,
    uploadDays,
    missing: [],
  })

  test('an overwrite names what it replaces', () => {
    const [planned] = planWrite([lost('other')], repo).records
    expect(planned).toMatchObject({
      action: 'overwrite',
      currentCid: cidOfRecord(json('rewritten')),
      currentBytes: encodeRecord(json('rewritten')).bytes.length,
    })
  })

  test('what proves a record, and why another differs', () => {
    const [a, b] = planWrite(
      [
        { ...lost('a'), proof: 'proven', provenBy: 'tombstone' },
        { ...lost('b'), proof: 'different', differs: 'edited' },
      ],
      repo,
    ).records
    expect(a).toMatchObject({ proof: 'proven', provenBy: 'tombstone' })
    expect(b).toMatchObject({ proof: 'different', differs: 'edited' })
  })

  test('warnings are of what is written, and counted', () => {
    const asked: string[] = []
    const plan = planWrite(
      [lost('a'), { ...lost('b'), doubt: 'in a blob' }, lost('other'), refused('broken')],
      repo,
      'keep',
      new Map(),
      {
        warningOf({ rkey }) {
          asked.push(rkey)
          return rkey === 'b' ? 'breaks its lexicon' : undefined
        },
      },
    )
    expect(asked).toEqual(['a', 'b'])
    expect(plan.warnings).toBe(1)
    expect(plan.records.map(({ warning }) => warning)).toEqual([
      undefined,
      'breaks its lexicon; in a blob',
      undefined,
      undefined,
    ])
    expect(planWrite([lost('a')], repo).warnings).toBe(0)
  })

  test('the uploads take their time, and their days', () => {
    const at = { nowMs: 0 }
    const without = planWrite([lost('a')], repo, 'keep', new Map(), at).estimateMs
    const estimate = (upload: number, days: number) =>
      planWrite([lost('a')], repo, 'keep', new Map(), { ...at, blobs: blobs(upload, days) }).estimateMs
    expect(estimate(0, 0)).toBe(without)
    expect(estimate(10, 1)).toBeGreaterThan(without)
    expect(estimate(10, 1)).toBeLessThan(without + 60_000)
    expect(estimate(2_500, 3)).toBeGreaterThan(2 * day)
    expect(estimate(2_500, 3)).toBeLessThan(3 * day)
  })

  test('scope and blobs are told as they are', () => {
    const scope = { uris: [uriOf('a')], leftOut: 3 }
    const plan = planWrite([lost('a')], repo, 'keep', new Map(), { scope, blobs: blobs(1, 1) })
    expect(plan).toMatchObject({ scope, blobs: blobs(1, 1) })
    expect(planWrite([lost('a')], repo)).not.toHaveProperty('scope')
    expect(planWrite([lost('a')], repo)).not.toHaveProperty('blobs')
  })

  test('what cannot be rebuilt and was never lost is no refusal', () => {
    const kept = new Map([[uriOf('other'), 'edited by its author']])
    const plan = planWrite([refused('other'), refused('gone')], repo, 'overwrite', kept)
    expect(plan.records.map(({ action }) => action)).toEqual(['keep', 'refuse'])
    expect(plan.records[0]).toMatchObject({ reason: 'the record there now stays: no $type' })
  })

  test('a URI that is none is refused, not stumbled over', () => {
    const broken = { ...refused('x'), uri: 'nonsense' }
    expect(planWrite([broken], repo).records).toEqual([
      { uri: 'nonsense', action: 'refuse', bytes: 0, refusal: 'unencodable', reason: 'no $type' },
    ])
  })
})

test('what is proven is counted by what proves it', () => {
  const by = (rkey: string, provenBy: 'tombstone' | 'strong-reference' | 'repo'): LostRecord => ({
    ...lost(rkey),
    proof: 'proven',
    provenBy,
  })
  const records = [by('a', 'tombstone'), by('b', 'tombstone'), by('c', 'strong-reference'), lost('d')]
  const plan = planWrite([...records, by('e', 'repo'), refused('f')], repoOf({ e: 'e', c: 'other' }), 'keep')
  expect(plan.provenBy).toEqual({ tombstone: 2, 'strong-reference': 1, repo: 1 })
})
