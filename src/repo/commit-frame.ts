import type { Cid } from '@atproto/lex'
import { type Blocks, readCarBytes } from './car.ts'
import { type Commit, commitOf, type Signer, signedCommitOf, verifyCommitInPool } from './commit.ts'
import { MstLookup } from './mst-lookup.ts'
import { splitPath } from './mst-node.ts'
import { brokenRepo, MissingBlockError } from './repo-errors.ts'

/** One entry of `ops` in a `#commit` frame. */
export interface FrameOp {
  /** `create`, `update` or `delete`; anything else is refused. */
  action: string
  /** `collection/rkey`. */
  path: string
  cid?: Cid | null | undefined
  prev?: Cid | undefined
}

/** What of a `#commit` frame is checked. `ops` may be only those the caller cares for. */
export interface CommitFrame extends Signer {
  /** The frame's CAR slice. */
  blocks: Uint8Array
  commit: Cid
  rev: string
  ops: readonly FrameOp[]
}

interface VerifiedOpBase {
  collection: string
  rkey: string
  /** CID that the op replaced, as the frame says; nothing in the frame proves it. */
  prev?: Cid
}
export type VerifiedUpsert = VerifiedOpBase & { action: 'create' | 'update'; cid: Cid; bytes: Uint8Array }
export type VerifiedOp = VerifiedUpsert | (VerifiedOpBase & { action: 'delete' })

export interface VerifiedFrame {
  commit: Commit
  /** In the order of the frame. Of several ops on one record only the last: the commit proves no more than the end. */
  ops: readonly VerifiedOp[]
}

/**
 * Checks a frame of the firehose: the commit is the account's and signed, and its tree has every created or updated
 * record with the op's CID and none of the deleted ones. Subtrees that no op's path leads through may be missing.
 *
 * @throws {@link SignatureError}: another key, so resolve the DID afresh and try once more. {@link MissingBlockError}:
 *   a node on a path, or a record, was not sent, so fetch the repository. {@link VerificationError}: anything else
 */
export function verifyCommitFrame(frame: CommitFrame): VerifiedFrame {
  const car = readCarBytes(frame.blocks)
  const { cid, commit } = signedCommitOf(car, frame)
  return { commit, ops: verifyOps(frame, car.blocks, cid, commit) }
}

/**
 * As verifyCommitFrame, with the signature checked in a thread of Node's pool while this one follows the proofs: for
 * who has several frames to verify.
 */
export async function verifyCommitFrameInPool(frame: CommitFrame): Promise<VerifiedFrame> {
  const { did } = frame
  const car = readCarBytes(frame.blocks)
  const { cid, commit } = commitOf(car, did)
  const signature = verifyCommitInPool(commit, frame)
  const proofs = attempt(() => verifyOps(frame, car.blocks, cid, commit))
  // First: of a frame that another key signed nothing else is worth saying.
  await signature
  if ('error' in proofs) throw proofs.error
  return { commit, ops: proofs.value }
}

function attempt<T>(act: () => T): { value: T } | { error: unknown } {
  try {
    return { value: act() }
  } catch (error) {
    return { error }
  }
}

function checkNames({ did, rev, commit: named }: CommitFrame, cid: Cid, commit: Commit): void {
  if (!cid.equals(named)) throw brokenRepo('The frame names another commit than its blocks hold', { did })
  if (commit.rev !== rev) throw brokenRepo(`The frame says rev ${rev}, its commit ${commit.rev}`, { did })
}

function lastOps({ ops }: CommitFrame): FrameOp[] {
  const last = new Map(ops.map((op) => [op.path, op]))
  return ops.filter((op) => last.get(op.path) === op)
}

function verifyOps(frame: CommitFrame, blocks: Blocks, cid: Cid, commit: Commit): VerifiedOp[] {
  checkNames(frame, cid, commit)
  const lookup = new MstLookup(blocks, commit.data)
  return lastOps(frame).map((op) => verifyOp(op, frame.did, blocks, lookup))
}

function verifyOp(op: FrameOp, did: string, blocks: Blocks, lookup: MstLookup): VerifiedOp {
  const base = { ...splitPath(op.path), ...(op.prev === undefined ? {} : { prev: op.prev }) }
  const uri = `at://${did}/${op.path}`
  const found = lookup.find(op.path)
  if (op.action === 'delete') {
    if (found !== null)
      throw brokenRepo('The frame says a record was deleted that its commit still has', { did, uri })
    return { ...base, action: 'delete' }
  }
  if (op.action !== 'create' && op.action !== 'update') {
    throw brokenRepo(`The frame holds an unknown action ${JSON.stringify(op.action)}`, { did, uri })
  }
  if (found === null || !op.cid?.equals(found)) {
    throw brokenRepo('The frame says a record was written that its commit does not have', { did, uri })
  }
  const bytes = blocks.get(found)
  if (bytes === undefined) {
    const cid = found.toString()
    throw new MissingBlockError(`The record ${uri} (${cid}) was not sent`, { did, uri, cid })
  }
  return { ...base, action: op.action, cid: found, bytes }
}
