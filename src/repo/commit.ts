import { type Cid, isCid } from '@atproto/lex'
import { isValidTid } from '@atproto/syntax'
import { type Car, rootOf } from './car.ts'
import { decodeBlock, encodeBlock } from './dag-cbor.ts'
import { brokenRepo, MissingBlockError, SignatureError } from './repo-errors.ts'
import { isSignedBy, isSignedByInPool } from './signature.ts'

/** A signed commit of repository version 3. */
export interface Commit {
  did: string
  version: 3
  /** Root of the MST. */
  data: Cid
  /** A TID; later commits have greater ones. */
  rev: string
  prev: Cid | null
  /** 64 bytes: r and s. */
  sig: Uint8Array
}

/** Whose repository it must be, and the key that must have signed it (`did:key:…`). */
export interface Signer {
  did: string
  signingKey: string
}

/** @throws {@link VerificationError} when the block is not a commit of version 3 */
function decodeCommit(bytes: Uint8Array): Commit {
  const { did, version, data, rev, prev, sig, ...rest } = decodeBlock(bytes, 'commit')
  if (version !== 3) throw brokenRepo('The commit is not of repository version 3')
  if (typeof did !== 'string') throw brokenRepo('The commit names no DID')
  if (!isCid(data, { flavor: 'cbor' })) throw brokenRepo('The commit names no MST root')
  if (!isValidTid(rev)) throw brokenRepo('The commit has no valid rev')
  if (prev !== null && !isCid(prev)) throw brokenRepo('The commit has no valid prev')
  if (!(sig instanceof Uint8Array)) throw brokenRepo('The commit is not signed')
  if (Object.keys(rest).length > 0) throw brokenRepo('The commit has fields that a commit does not have')
  return { did, version, data, rev, prev, sig }
}

/**
 * @throws {@link VerificationError} when the commit is of another account; {@link SignatureError} when the key did
 *   not sign it
 */
function verifyCommit(commit: Commit, signer: Signer): void {
  const { unsigned, sig } = toVerify(commit, signer)
  if (!isSignedBy(signer.signingKey, unsigned, sig)) throw notSigned(commit, signer)
}

/** As verifyCommit, in a thread of Node's pool. */
export async function verifyCommitInPool(commit: Commit, signer: Signer): Promise<void> {
  const { unsigned, sig } = toVerify(commit, signer)
  if (!(await isSignedByInPool(signer.signingKey, unsigned, sig))) throw notSigned(commit, signer)
}

function toVerify(commit: Commit, { did }: Signer): { unsigned: Uint8Array; sig: Uint8Array } {
  if (commit.did !== did) {
    throw brokenRepo(`The repository is that of ${commit.did}, not of ${did}`, {
      did,
      hint: 'The host served the wrong repository: check that the DID document names the right PDS.',
    })
  }
  const { sig, ...unsigned } = commit
  return { unsigned: encodeBlock(unsigned), sig }
}

function notSigned({ rev }: Commit, { did }: Signer): SignatureError {
  return new SignatureError(`The commit ${rev} of ${did} is not signed by its signing key`, {
    did,
    hint: 'Resolve the DID again: its key may have changed. If it has not, the host served a forged repository.',
  })
}

/**
 * The commit at the root of a CAR, decoded and verified. This is all there is to check of a `#sync` frame.
 *
 * @throws {@link VerificationError}; {@link MissingBlockError} when the root's block was not sent
 */
export function signedCommitOf(car: Car, signer: Signer): { cid: Cid; commit: Commit } {
  const read = commitOf(car, signer.did)
  verifyCommit(read.commit, signer)
  return read
}

/** The commit at the root of a CAR, not verified yet. @param did named in errors */
export function commitOf(car: Car, did: string): { cid: Cid; commit: Commit } {
  const cid = rootOf(car)
  const bytes = car.blocks.get(cid)
  if (bytes === undefined) {
    throw new MissingBlockError(`The commit ${cid.toString()} was not sent`, { did, cid: cid.toString() })
  }
  return { cid, commit: decodeCommit(bytes) }
}
