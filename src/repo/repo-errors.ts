import { type ErrorContext, VerificationError } from '../errors.ts'

/** What an operator can do about a repository that does not hold together. */
export const BROKEN_REPO_HINT =
  'Fetch it again; if it fails the same way, the host serves a broken repository: ask its operator to repair or re-export it.'

/**
 * A block that the data refers to was not sent. Of its own kind because a frame of the firehose may rightly leave
 * out a block that its host thought known: the caller can then fetch the whole repository instead.
 */
export class MissingBlockError extends VerificationError {
  /** CID of the block, as text. */
  readonly cid: string
  constructor(message: string, context: ErrorContext & { cid: string }) {
    super(message, { hint: BROKEN_REPO_HINT, ...context })
    this.cid = context.cid
  }
}

/**
 * A commit's signature does not fit the key. Of its own kind because the account may have changed its key since
 * the DID document was cached: the caller resolves the DID afresh and tries once more.
 */
export class SignatureError extends VerificationError {}

/** Refuses a repository: what is wrong with it, and the usual way on. */
export function brokenRepo(message: string, context: ErrorContext = {}): VerificationError {
  return new VerificationError(message, { hint: BROKEN_REPO_HINT, ...context })
}
