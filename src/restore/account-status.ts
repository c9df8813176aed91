import { PdsError } from '../errors.ts'
import { NoSuchDidError } from '../network/identity.ts'
import type { RepoStatus } from '../network/xrpc.ts'
import type { RestoreContext } from './context.ts'
import { deleteAccountRecords } from './delete-account.ts'
import { type HostRetry, retryingHost } from './retry-host.ts'

/** XRPC errors by which a PDS says why it does not serve a repo. */
const STATUSES: Readonly<Record<string, string>> = {
  RepoNotFound: 'deleted',
  RepoTakendown: 'takendown',
  RepoSuspended: 'suspended',
  RepoDeactivated: 'deactivated',
}

/**
 * What those who know say of an account: the PLC directory or did:web host, which may know no such DID any more, and
 * the PDS that the DID document names at present. A relay's word is none of theirs: it may be wrong, old, a
 * moderation of its own, or about the host that an account has moved away from.
 *
 * @throws UnavailableError when they do not answer; VerificationError or PdsError when they answer something else
 */
async function confirmedStatus(
  { network: { identity, xrpc } }: Pick<RestoreContext, 'network'>,
  did: string,
): Promise<RepoStatus> {
  let pdsUrl: string
  try {
    ;({ pdsUrl } = await identity.refresh(did))
  } catch (error) {
    if (error instanceof NoSuchDidError) return { active: false, status: 'deleted' }
    throw error
  }
  // Older hosts do not have the first, and say by the errors of the second what is the matter.
  const status = await statusOf(async () => xrpc.getRepoStatus?.(pdsUrl, did))
  if (status !== undefined && !(status instanceof PdsError)) return status
  const served = await statusOf(async () => {
    await xrpc.getLatestCommit(pdsUrl, did)
    return { active: true, status: undefined }
  })
  if (served instanceof PdsError) throw served
  return served
}

/** The answer, or the refusal that says nothing of the account. */
async function statusOf<T>(ask: () => Promise<T>): Promise<T | RepoStatus | PdsError> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof PdsError)) throw error
    const status = STATUSES[error.error]
    return status === undefined ? error : { active: false, status }
  }
}

export interface AccountClaim {
  did: string
  active: boolean
  status: string | undefined
}

/** `unconfirmed`: nobody who knows could be asked, and everything is as it was. */
export type AccountAnswer =
  | { outcome: 'kept' }
  | { outcome: 'deleted'; count: number }
  | { outcome: 'unconfirmed'; error: unknown }

/**
 * Does what the appview's description says about an account of which a firehose claims that it is gone: its records
 * are taken away once the account's own PDS or directory has confirmed it, and for the status that they say.
 *
 * @throws what the database says
 */
export async function answerAccount(
  context: RestoreContext,
  claim: AccountClaim,
  retry: HostRetry,
): Promise<AccountAnswer> {
  const { appview, logger } = context
  const { did } = claim
  if (appview.onAccount?.(claim) !== 'delete') return { outcome: 'kept' }
  let confirmed: RepoStatus
  try {
    confirmed = await retryingHost(() => confirmedStatus(context, did), retry)
  } catch (error) {
    return { outcome: 'unconfirmed', error }
  }
  if (appview.onAccount({ did, ...confirmed }) !== 'delete') {
    logger.warn(
      { claim, confirmed },
      'an account is said to be gone, but not by its own host: its records stay',
    )
    return { outcome: 'kept' }
  }
  return { outcome: 'deleted', count: await deleteAccountRecords(context, did) }
}
