import type { Cid, LexMap } from '@atproto/lex'
import { readCarBytes } from './car.ts'
import { type Signer, signedCommitOf } from './commit.ts'
import { MstLookup } from './mst-lookup.ts'
import { splitPath } from './mst-node.ts'
import { recordFromBytes } from './record.ts'
import { MissingBlockError } from './repo-errors.ts'

/** `rev` is that of the commit the proof belongs to: compare it where an old proof would mislead. */
export type RecordProof =
  | { present: Cid; record: LexMap; rev: string /** CID of the commit. */; commit: Cid }
  | { present: null; rev: string }

/**
 * What `com.atproto.sync.getRecord` proves: that the account's repository has this record, or that it has not.
 *
 * @param car the answer's body
 * @throws {@link SignatureError}: another key. {@link MissingBlockError}: the answer proves neither.
 *   {@link VerificationError}: anything else that is wrong with it
 */
export function verifyRecordProof(
  car: Uint8Array,
  { did, signingKey, collection, rkey }: Signer & { collection: string; rkey: string },
): RecordProof {
  const proof = readCarBytes(car)
  const { cid: commitCid, commit } = signedCommitOf(proof, { did, signingKey })
  const path = `${collection}/${rkey}`
  splitPath(path)
  const present = new MstLookup(proof.blocks, commit.data).find(path)
  if (present === null) return { present, rev: commit.rev }
  const bytes = proof.blocks.get(present)
  if (bytes === undefined) {
    const cid = present.toString()
    const uri = `at://${did}/${path}`
    throw new MissingBlockError(`The record ${uri} (${cid}) was not sent with its proof`, { did, uri, cid })
  }
  return { present, record: recordFromBytes(bytes), rev: commit.rev, commit: commitCid }
}
