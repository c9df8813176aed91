import { expect, test } from 'vitest'
import { type HeadNetwork, headRev, withHead } from '../../../src/firehose/repo-head.ts'
import type { Xrpc } from '../../../src/network/xrpc.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'

/** A PDS whose repo comes byte by byte and never ends. */
function tarPit(options: Pick<HeadNetwork, 'signal' | 'maxRepoBytes'>, onByte: (count: number) => void) {
  const account = async () => ({
    did: DID,
    handle: 'a.test',
    pdsUrl: 'https://pds.example',
    signingKey: 'did:key:z',
  })
  async function* bytes() {
    for (let count = 1; count < 10_000; count++) {
      onByte(count)
      yield Buffer.from([0x7f])
    }
  }
  const xrpc = { getRepoStream: async () => bytes() } as unknown as Xrpc
  const identity = { resolve: account, refresh: account, clear: async () => undefined }
  return { identity, xrpc, ...options }
}

test('a repo that comes slowly is read no longer than the signal allows', async () => {
  const stop = new AbortController()
  const reason = new Error('enough')
  const counts: number[] = []
  const network = tarPit({ signal: stop.signal }, (count) => {
    counts.push(count)
    if (count === 3) stop.abort(reason)
  })
  await expect(withHead(DID, network, () => undefined)).rejects.toBe(reason)
  expect(counts).toEqual([1, 2, 3])
  await expect(headRev(DID, network)).rejects.toBe(reason)
})

test('nor beyond the size that is allowed', async () => {
  const counts: number[] = []
  const network = tarPit({ maxRepoBytes: 10 }, (count) => void counts.push(count))
  await expect(withHead(DID, network, () => undefined)).rejects.toMatchObject({ name: 'VerificationError' })
  expect(counts.length).toBeLessThan(20)
})
