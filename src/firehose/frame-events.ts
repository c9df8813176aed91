import type { Cid } from '@atproto/lex'
import type { EventSource, RecordEvent } from '../events.ts'
import type { Identity } from '../network/identity.ts'
import type { Signer } from '../repo/commit.ts'
import { verifyCommitFrameInPool } from '../repo/commit-frame.ts'
import { SignatureError } from '../repo/repo-errors.ts'
import type { CommitFrame } from './frame.ts'
import { eventOf } from './op-event.ts'

export interface FrameEvents {
  /** Root of the commit's tree. */
  data: Cid
  /** In the order of the frame. */
  events: RecordEvent[]
  unreadable: { uri: string; reason: string }[]
}

/**
 * What a `#commit` frame says about records of interest, once its signature and proofs are checked. The signature is
 * checked too where none of them is of interest.
 *
 * @throws VerificationError: the frame proves nothing. UnavailableError: the DID cannot be resolved now
 */
export async function verifiedEvents(
  frame: CommitFrame,
  options: { key: AccountKey; isWanted: (collection: string) => boolean; source: EventSource },
): Promise<FrameEvents> {
  const ops = frame.ops.filter((op) => options.isWanted(op.path.split('/')[0] ?? ''))
  const { commit, ops: verified } = await options.key.checked((signer) =>
    verifyCommitFrameInPool({ ...frame, ops, ...signer }),
  )
  const found: FrameEvents = { data: commit.data, events: [], unreadable: [] }
  for (const op of verified) {
    const event = eventOf(frame, op, options.source)
    if ('reason' in event) found.unreadable.push({ uri: event.uri, reason: event.reason })
    else found.events.push(event)
  }
  return found
}

/**
 * One account's signing key, looked up once: resolving a cached DID document still takes its key apart, which costs as
 * much as following a frame's proofs.
 */
export class AccountKey {
  readonly #did: string
  readonly #identity: Identity
  #signer: Promise<Signer> | undefined

  constructor(did: string, identity: Identity) {
    this.#did = did
    this.#identity = identity
  }

  /** The key may have changed since it was looked up: one more try with the DID document as it is now. */
  async checked<T>(check: (signer: Signer) => T | Promise<T>): Promise<T> {
    const known = this.lookUp()
    try {
      return await check(await known)
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error
      // Frames that are checked together share the second look, too.
      if (this.#signer === known) this.#signer = undefined
      return check(await this.lookUp())
    }
  }

  lookUp(): Promise<Signer> {
    this.#signer ??= this.#identity.refresh(this.#did).then(({ did, signingKey }) => ({ did, signingKey }))
    return this.#signer
  }
}
