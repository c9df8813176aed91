import { retrying } from '../../database/retry.ts'
import { shouldRetry } from '../../errors.ts'
import type { RecordEvent } from '../../events.ts'
import type { AccountIdentity, Identity } from '../../network/identity.ts'
import type { Signer } from '../../repo/commit.ts'
import { verifyCommitFrameInPool } from '../../repo/commit-frame.ts'
import { SignatureError } from '../../repo/repo-errors.ts'
import type { CommitFrame } from '../frame.ts'
import { eventOf, type UnreadableRecord } from '../op-event.ts'

/** An event, or a record of which none can be made. */
export type VerifiedEvent = RecordEvent | UnreadableRecord

export interface VerifiedCommit {
  events: VerifiedEvent[]
  /** Root of the commit's tree, as text. */
  data: string
}

/**
 * The events of a frame, checked against its signed commit.
 *
 * @param ops those of the frame's that are wanted
 * @throws VerificationError when the frame does not stand up to its signature or is not complete; UnavailableError
 *   when the account's key could not be looked up
 */
export async function verifiedEventsOf(
  frame: CommitFrame,
  ops: CommitFrame['ops'],
  identity: Identity,
): Promise<VerifiedCommit> {
  const verified = await withSigner(frame.repo, identity, (signer) =>
    verifyCommitFrameInPool({ ...signer, blocks: frame.blocks, commit: frame.commit, rev: frame.rev, ops }),
  )
  return {
    events: verified.ops.map((op) => eventOf(frame, op, 'firehose')),
    data: verified.commit.data.toString(),
  }
}

/** The signing key may have changed since it was cached: one more try with the DID document as it is now. */
export async function withSigner<T>(
  did: string,
  identity: Identity,
  check: (signer: Signer) => T | Promise<T>,
): Promise<T> {
  try {
    return await check(signerOf(await lookedUp(did, () => identity.resolve(did))))
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error
    return await check(signerOf(await lookedUp(did, () => identity.refresh(did))))
  }
}

/**
 * Where the PLC directory is away nothing can be verified: better to stop before this frame and meet it again. A
 * did:web host is its owner's own: nobody's absence may stop everybody's ingestion.
 */
export function stopsEverybody(error: unknown, did: string): boolean {
  return shouldRetry(error) && !did.startsWith('did:web:')
}

/** Outages of a directory are mostly short; a did:web host gets one chance for each frame. */
function lookedUp(did: string, lookUp: () => Promise<AccountIdentity>): Promise<AccountIdentity> {
  return did.startsWith('did:web:') ? lookUp() : retrying(lookUp)
}

function signerOf({ did, signingKey }: AccountIdentity): Signer {
  return { did, signingKey }
}
