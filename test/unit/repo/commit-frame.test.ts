import type { Cid } from '@atproto/lex'
import { blocksToCarFile, type CommitData, type RecordWriteOp, Repo, WriteOpAction } from '@atproto/repo'
import { beforeAll, describe, expect, it } from 'vitest'
import { VerificationError } from '../../../src/errors.ts'
import {
  type CommitFrame,
  type FrameOp,
  verifyCommitFrame,
  verifyCommitFrameInPool,
} from '../../../src/repo/commit-frame.ts'
import { recordFromBytes } from '../../../src/repo/record.ts'
import { MissingBlockError, SignatureError } from '../../../src/repo/repo-errors.ts'
import { type Built, buildRepo, COLLECTION, KEYS, noteOf, rkeyOf } from './build-repo.ts'

let built: Built
beforeAll(async () => {
  built = await buildRepo(500, KEYS.secp256k1)
})

const at = (rkey: string) => ({ collection: COLLECTION, rkey })
const path = (rkey: string) => `${COLLECTION}/${rkey}`

/** The frame a host would send for these writes; `built` stays as it was. */
async function frameOf(
  writes: RecordWriteOp[],
): Promise<{ frame: CommitFrame; commit: CommitData; after: Repo }> {
  const commit = await built.repo.formatCommit(writes, KEYS.secp256k1)
  await built.storage.putMany(commit.relevantBlocks)
  const after = await Repo.load(built.storage, commit.cid)
  const ops = await Promise.all(
    writes.map(async ({ action, collection, rkey }): Promise<FrameOp> => {
      const cid = action === WriteOpAction.Delete ? null : await after.data.get(`${collection}/${rkey}`)
      return { action, path: `${collection}/${rkey}`, cid }
    }),
  )
  const blocks = await blocksToCarFile(commit.cid, commit.relevantBlocks)
  const { did, signingKey } = built
  return { frame: { did, signingKey, blocks, commit: commit.cid, rev: commit.rev, ops }, commit, after }
}

async function without(commit: CommitData, cid: Cid | undefined): Promise<Uint8Array> {
  if (cid === undefined) throw new Error('nothing to leave out')
  commit.relevantBlocks.delete(cid)
  return blocksToCarFile(commit.cid, commit.relevantBlocks)
}

const create: RecordWriteOp = { action: WriteOpAction.Create, ...at('zzz'), record: noteOf(1) }
const update: RecordWriteOp = { action: WriteOpAction.Update, ...at(rkeyOf(3)), record: noteOf(1003) }
const remove: RecordWriteOp = { action: WriteOpAction.Delete, ...at(rkeyOf(250)) }

describe.each([
  ['verifyCommitFrame', async (frame: CommitFrame) => verifyCommitFrame(frame)],
  ['verifyCommitFrameInPool', verifyCommitFrameInPool],
])('%s', (_, verify) => {
  it('gives creates, updates and deletes with their blocks', async () => {
    const { frame } = await frameOf([create, update, remove])
    const { commit, ops } = await verify(frame)
    expect(commit.rev).toBe(frame.rev)
    expect(ops.map(({ action, rkey }) => [action, rkey])).toEqual([
      ['create', 'zzz'],
      ['update', rkeyOf(3)],
      ['delete', rkeyOf(250)],
    ])
    const records = ops.map((op) => (op.action === 'delete' ? null : recordFromBytes(op.bytes)))
    expect(records).toEqual([noteOf(1), noteOf(1003), null])
  })

  it('proves each of many deletes', async () => {
    for (let index = 0; index < 500; index += 7) {
      const { frame } = await frameOf([{ action: WriteOpAction.Delete, ...at(rkeyOf(index)) }])
      expect((await verify(frame)).ops).toHaveLength(1)
    }
  })

  it('takes a delete whose unchanged subtrees were not sent, as older hosts do', async () => {
    for (let index = 0; index < 500; index += 7) {
      const { frame, commit } = await frameOf([{ action: WriteOpAction.Delete, ...at(rkeyOf(index)) }])
      const blocks = await blocksToCarFile(commit.cid, commit.newBlocks)
      expect((await verify({ ...frame, blocks })).ops).toHaveLength(1)
    }
  })

  it('takes the last of several ops on one record', async () => {
    const { frame } = await frameOf([create])
    const ops = [{ action: 'delete', path: path('zzz'), cid: null }, ...frame.ops]
    const verified = await verify({ ...frame, ops })
    expect(verified.ops.map((op) => op.action)).toEqual(['create'])
  })

  it('carries prev on', async () => {
    const { frame } = await frameOf([remove])
    const ops = frame.ops.map((op) => ({ ...op, prev: frame.commit }))
    expect((await verify({ ...frame, ops })).ops[0]?.prev).toBe(frame.commit)
  })

  it('refuses what the commit does not say', async () => {
    const { frame } = await frameOf([create, remove])
    const [created] = frame.ops
    const lies: Partial<CommitFrame>[] = [
      { did: 'did:plc:other' },
      { rev: '3jzfcijpj2z2a' },
      { commit: built.repo.cid },
      { ops: [{ action: 'create', path: path(rkeyOf(250)), cid: created?.cid }] },
      { ops: [{ action: 'create', path: path('zzz'), cid: frame.commit }] },
      { ops: [{ action: 'create', path: path('zzz') }] },
      { ops: [{ action: 'delete', path: path('zzz') }] },
      { ops: [{ action: 'rename', path: path('zzz'), cid: created?.cid }] },
      { ops: [{ action: 'delete', path: 'not a path' }] },
    ]
    for (const lie of lies)
      await expect(verify({ ...frame, ...lie })).rejects.toBeInstanceOf(VerificationError)
    await expect(verify({ ...frame, signingKey: KEYS.p256.did() })).rejects.toBeInstanceOf(SignatureError)
  })

  it('tells a record that was not sent from other failures', async () => {
    const { frame, commit, after } = await frameOf([create])
    const cid = await after.data.get(path('zzz'))
    const blocks = await without(commit, cid ?? undefined)
    await expect(verify({ ...frame, blocks })).rejects.toBeInstanceOf(MissingBlockError)
  })

  it('refuses a frame without a node on the path', async () => {
    const { frame, commit, after } = await frameOf([create])
    const cids = await after.data.cidsForPath(path('zzz'))
    const blocks = await without(commit, cids.at(-2))
    await expect(verify({ ...frame, blocks })).rejects.toBeInstanceOf(MissingBlockError)
  })
})
