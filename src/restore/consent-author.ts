import { PdsError, RestoreError } from '../errors.ts'
import { type AccountIdentity, NoRepositoryError } from '../network/identity.ts'
import type { RestoreContext } from './context.ts'

/** What hosts say of an account that is not to be seen, by XRPC error and by status. */
const STATES: Readonly<Record<string, string>> = {
  RepoNotFound: 'is not on its host any more',
  RepoDeactivated: 'is deactivated',
  RepoTakendown: 'is taken down',
  RepoSuspended: 'is suspended',
  deleted: 'is deleted',
  deactivated: 'is deactivated',
  takendown: 'is taken down',
  suspended: 'is suspended',
}

/**
 * An author who has left, or whose host has taken the account down, is not restored: the records could not be
 * written, and the rows would show what is not to be seen.
 *
 * @throws RestoreError when the account's DID document or host says so; UnavailableError when neither answers
 */
export async function assertAuthorActive(
  did: string,
  network: RestoreContext['network'],
): Promise<AccountIdentity> {
  const identity = await resolved(did, network)
  const host = new URL(identity.pdsUrl).host
  const state = await stateOf(identity, network)
  if (state === undefined) return identity
  throw refusal(
    did,
    `${STATES[state] ?? `is not active (${state})`}, as ${host} says`,
    state === 'RepoNotFound'
      ? 'Its DID document still names that host. If it has moved, it must be put in order first.'
      : 'Nothing was written. Once the account is active again, run the same command again.',
  )
}

async function resolved(did: string, { identity }: RestoreContext['network']): Promise<AccountIdentity> {
  try {
    return await identity.refresh(did)
  } catch (error) {
    if (!(error instanceof NoRepositoryError)) throw error
    throw refusal(did, `has no repository: ${error.message}`, error.hint, error)
  }
}

/** undefined: the account is there, as far as its host says. */
async function stateOf(
  { did, pdsUrl }: AccountIdentity,
  { xrpc }: RestoreContext['network'],
): Promise<string | undefined> {
  try {
    await xrpc.getLatestCommit(pdsUrl, did)
    const status = await xrpc.getRepoStatus?.(pdsUrl, did)
    return status === undefined || status.active ? undefined : (status.status ?? 'inactive')
  } catch (error) {
    if (!(error instanceof PdsError)) throw error
    if (error.error in STATES) return error.error
    // It speaks of the account, and knows no such call as getRepoStatus: its commit has told all it can tell.
    if (error.error === 'MethodNotImplemented' || error.error.startsWith('HTTP ')) return undefined
    throw error
  }
}

function refusal(did: string, what: string, hint?: string, cause?: unknown): RestoreError {
  return new RestoreError(`${did} ${what}. Such an account is not restored.`, {
    did,
    ...(hint !== undefined && { hint }),
    cause,
  })
}
