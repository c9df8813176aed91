import { describe, expect, test } from 'vitest'
import { ownedBy } from '../../../src/database/exact.ts'
import {
  didOf,
  isCommit,
  isSync,
  isUnreadable,
  parseFrame,
  SUBSCRIBE_REPOS,
} from '../../../src/firehose/frame.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const { cid } = encodeRecord({ n: 1 })
const op = { action: 'delete', path: 'com.example.note/n', cid: null, prev: cid }
const commit = {
  $type: `${SUBSCRIBE_REPOS}#commit`,
  seq: 7,
  time: '2026-01-01T00:00:00.000Z',
  repo: 'did:plc:a',
  rev: '3jzfcijpj2z2a',
  commit: cid,
  blocks: new Uint8Array(),
  ops: [op],
}
const sync = {
  $type: `${SUBSCRIBE_REPOS}#sync`,
  seq: 8,
  time: '',
  did: 'did:plc:a',
  rev: '3jzfcijpj2z2b',
  blocks: new Uint8Array(),
}

test('a commit keeps what each op replaced', () => {
  const frame = parseFrame({ ...commit, since: null, tooBig: false, blobs: [], somethingNew: 1 })
  if (frame === undefined || !isCommit(frame)) throw new Error('no commit')
  expect(frame.ops).toEqual([op])
  expect(didOf(frame)).toBe('did:plc:a')
})

test('some relays write null for no prev', () => {
  const frame = parseFrame({ ...commit, ops: [{ ...op, prev: null }] })
  if (frame === undefined || !isCommit(frame)) throw new Error('no commit')
  expect(frame.ops[0]?.prev).toBeUndefined()
})

describe('what says something about records and cannot be read is never passed over', () => {
  test.each<[string, object]>([
    ['an op of another shape', { ...commit, ops: [{ action: 'create' }] }],
    ['a CID that is a text', { ...commit, commit: cid.toString() }],
    ['no rev', { ...commit, rev: undefined }],
    ['a rev that is no TID', { ...commit, rev: 'x'.repeat(10_000) }],
    ['a rev that is shorter than a TID', { ...commit, rev: '3jz' }],
    ['a rev that begins as no TID does', { ...commit, rev: 'zjzfcijpj2z2a' }],
    ['a sync with such a rev', { ...sync, rev: '3jzfcijpj2z2b*' }],
    ['no blocks', { ...commit, blocks: null }],
    ['a sync without blocks', { ...sync, blocks: undefined }],
  ])('%s', (_, value) => {
    const frame = parseFrame(value)
    if (frame === undefined || !isUnreadable(frame)) throw new Error('not seen')
    expect(didOf(frame)).toBe('did:plc:a')
    expect(frame.seq).toBe((value as { seq: number }).seq)
    expect(['', commit.rev, sync.rev]).toContain(frame.rev)
  })
})

test.each<[string, unknown]>([
  ['a kind of tomorrow', { $type: `${SUBSCRIBE_REPOS}#label`, seq: 1 }],
  ['a notice', { $type: `${SUBSCRIBE_REPOS}#info`, name: 'OutdatedCursor' }],
  ['nothing', undefined],
  ['null', null],
  ['a text', 'x'],
])('%s says nothing about records', (_, value) => {
  expect(parseFrame(value)).toBeUndefined()
})

test('a sync and an account are what they are', () => {
  const frame = parseFrame(sync)
  expect(frame !== undefined && isSync(frame)).toBe(true)
  const account = parseFrame({
    $type: `${SUBSCRIBE_REPOS}#account`,
    seq: 9,
    time: '',
    did: 'did:plc:b',
    active: false,
  })
  expect(account && didOf(account)).toBe('did:plc:b')
})

describe.each([
  ['a star', '*'],
  ['a star in a DID', 'did:plc:*'],
  ['6,000 letters', `did:plc:${'a'.repeat(6000)}`],
  ['a zero byte', 'did:plc:a\0'],
  ['nothing', ''],
  ['a number', 7],
])('an account named by %s is none', (_name, did) => {
  test.each<[string, object]>([
    ['commit', { ...commit, repo: did }],
    ['unreadable commit', { ...commit, repo: did, ops: 'no' }],
    ['sync', { ...sync, did }],
    ['account', { $type: `${SUBSCRIBE_REPOS}#account`, seq: 9, time: '', did, active: false }],
    ['identity', { $type: `${SUBSCRIBE_REPOS}#identity`, seq: 9, time: '', did }],
  ])('%s', (_, value) => {
    expect(parseFrame(value)).toBeUndefined()
  })
})

test('no text for an account stands for other accounts in a condition', () => {
  expect(() => ownedBy('*')).toThrow('is not a DID')
  expect(() => ownedBy('did:plc:*')).toThrow('is not a DID')
})
