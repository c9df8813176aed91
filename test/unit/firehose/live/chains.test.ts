import { describe, expect, test } from 'vitest'
import type { CommitFrame } from '../../../../src/firehose/frame.ts'
import { RepoChains } from '../../../../src/firehose/live/chains.ts'
import { encodeRecord } from '../../../../src/repo/record.ts'

const [one, two] = [encodeRecord({ n: 1 }).cid, encodeRecord({ n: 2 }).cid]
const frame = (fields: Partial<CommitFrame>) =>
  ({ repo: 'did:plc:a', rev: '3c', since: '3b', prevData: one, ...fields }) as CommitFrame
const chainsAt = ({ rev, data }: { rev: string; data?: string } = { rev: '3b', data: `${one}` }) => {
  const chains = new RepoChains(10)
  chains.advance('did:plc:a', rev, data)
  return chains
}

test('a repo that nobody knows is trusted', () => {
  expect(new RepoChains(10).stepOf(frame({ since: '3z' }))).toEqual({ kind: 'fits' })
})

test('what follows the last commit fits', () => {
  expect(chainsAt().stepOf(frame({}))).toEqual({ kind: 'fits' })
  expect(chainsAt().stepOf(frame({ since: undefined }))).toEqual({ kind: 'fits' })
  expect(chainsAt().stepOf(frame({ prevData: undefined }))).toEqual({ kind: 'fits' })
})

test('a commit that follows another rev, or changes another tree, says what it lacks', () => {
  expect(chainsAt().stepOf(frame({ since: '3bb' }))).toMatchObject({ kind: 'broken', reason: /3bb.*3b/ })
  expect(chainsAt().stepOf(frame({ prevData: two }))).toMatchObject({ kind: 'broken', reason: /tree/ })
})

test('what came before is old', () => {
  expect(chainsAt().stepOf(frame({ rev: '3b' }))).toEqual({ kind: 'old' })
  expect(chainsAt().stepOf(frame({ rev: '3a' }))).toEqual({ kind: 'old' })
})

describe('a rev that nothing proved', () => {
  test('does not make a provable frame pass for old', () => {
    const chains = chainsAt({ rev: '3zzz' })
    expect(chains.stepOf(frame({}))).toMatchObject({ kind: 'broken' })
    expect(chains.stepOf(frame({ rev: '3zzz' }))).toEqual({ kind: 'fits' })
  })
  test('is compared by since alone', () => {
    expect(chainsAt({ rev: '3b' }).stepOf(frame({ prevData: two }))).toEqual({ kind: 'fits' })
  })
})

test('knows where a repo is by commit or by tree', () => {
  expect(chainsAt().isAt('did:plc:a', { rev: '3x', data: `${one}` })).toBe(true)
  expect(chainsAt().isAt('did:plc:a', { rev: '3b', data: `${two}` })).toBe(true)
  expect(chainsAt().isAt('did:plc:a', { rev: '3x', data: `${two}` })).toBe(false)
  expect(chainsAt().isAt('did:plc:b', { rev: '3b', data: `${one}` })).toBe(false)
})

test('forgets the repos seen longest ago', () => {
  const chains = new RepoChains(2)
  for (const did of ['a', 'b', 'a', 'c']) chains.advance(did, '3b', `${one}`)
  expect(['a', 'b', 'c'].map((did) => chains.has(did))).toEqual([true, false, true])
})
