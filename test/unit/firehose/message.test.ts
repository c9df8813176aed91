import { ErrorFrame, MessageFrame } from '@atproto/xrpc-server'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SUBSCRIBE_REPOS } from '../../../src/firehose/frame.ts'
import { readMessage } from '../../../src/firehose/message.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const { cid } = encodeRecord({ n: 1 })
const commit = {
  seq: 7,
  time: '2026-01-01T00:00:00.000Z',
  repo: DID,
  rev: '3jzfcijpj2z2b',
  since: '3jzfcijpj2z2a',
  commit: cid,
  prevData: cid,
  blocks: new Uint8Array(100),
  ops: [],
  tooBig: false,
}
const bytesOf = (body: object, type: string | undefined) =>
  new MessageFrame(body as never, type === undefined ? undefined : { type }).toBytes()

test('a commit, with what links it to the one before', () => {
  const message = readMessage(bytesOf(commit, '#commit'))
  expect(message).toMatchObject({
    kind: 'frame',
    frame: { $type: `${SUBSCRIBE_REPOS}#commit`, seq: 7, repo: DID, since: '3jzfcijpj2z2a', tooBig: false },
  })
  if (message.kind !== 'frame' || !('prevData' in message.frame)) throw new Error('no commit')
  expect(message.frame.prevData?.equals(cid)).toBe(true)
})

test('an account says why it is not active', () => {
  const body = { seq: 8, time: '', did: DID, active: false, status: 'takendown' }
  expect(readMessage(bytesOf(body, '#account'))).toMatchObject({
    kind: 'frame',
    frame: { active: false, status: 'takendown' },
  })
})

test('what a relay says about the stream', () => {
  expect(readMessage(bytesOf({ name: 'OutdatedCursor', message: 'm' }, '#info'))).toEqual({
    kind: 'notice',
    name: 'OutdatedCursor',
    text: 'm',
  })
  const refusal = new ErrorFrame({ error: 'FutureCursor', message: 'Cursor in the future.' })
  expect(readMessage(refusal.toBytes())).toEqual({
    kind: 'refusal',
    name: 'FutureCursor',
    text: 'Cursor in the future.',
  })
})

test('a kind of tomorrow has at most a seq', () => {
  expect(readMessage(bytesOf({ seq: 9 }, '#labels'))).toMatchObject({ kind: 'other', seq: 9 })
  expect(readMessage(bytesOf({ seq: 'x' }, 'com.example.other'))).toMatchObject({
    kind: 'other',
    seq: undefined,
  })
})

describe('what cannot be read', () => {
  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['no CBOR', Buffer.from('HTTP/1.1 200 OK')],
    ['a header alone', bytesOf(commit, '#commit').subarray(0, 15)],
    ['a commit without its repo', bytesOf({ ...commit, repo: undefined }, '#commit')],
    ['a sync without its seq', bytesOf({ did: 1, rev: '3jzfcijpj2z2b', time: '' }, '#sync')],
    ['a body that is a list', bytesOf([1], '#commit')],
    ['more than a frame', Buffer.concat([bytesOf(commit, '#commit'), Buffer.from([0x01])])],
  ])('%s', (_, bytes) => {
    expect(readMessage(bytes)).toMatchObject({ kind: 'unreadable', reason: expect.any(String) })
  })

  test('names the account that it seems to be about', () => {
    const whole = bytesOf(commit, '#commit')
    expect(readMessage(whole.subarray(0, whole.length - 60))).toMatchObject({
      kind: 'unreadable',
      dids: [DID],
    })
    expect(readMessage(whole.subarray(0, 20))).toMatchObject({ kind: 'unreadable', dids: [] })
  })

  test('never throws, whatever bytes come', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(readMessage(bytes).kind).toBeTypeOf('string')
      }),
    )
    const whole = bytesOf(commit, '#commit')
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const copy = Uint8Array.from(whole)
        copy[at] = (copy[at] ?? 0) ^ change
        expect(readMessage(copy).kind).toBeTypeOf('string')
      }),
    )
  })
})
