import { isValidDid } from '@atproto/syntax'
import { messageOf, ReplayError } from '../errors.ts'
import type { RestoreContext } from './context.ts'
import { type HostRetry, retryingHost } from './retry-host.ts'

/** Accounts that one answer to a gap takes from a listing: what no one appview of today has, and a bound. */
const MAX_ACCOUNTS = 100_000
/** Pages of one collection: a listing that names the same accounts for ever ends too. */
const MAX_PAGES = 1000

export interface ListedAccountsOptions {
  /** Relay, PDS or directory, as `wss://bsky.network`. */
  service: string
  retry: HostRetry
  /** @defaultValue 100000 */
  maxAccounts?: number
}

/**
 * The accounts that a service lists as having records of the appview's collections (listReposByCollection, which
 * relays offer and a PDS does not), each once, page by page.
 *
 * @returns why the listing is not whole; undefined: it is, as far as the service knows
 * @throws the signal's reason
 */
export async function* readListedAccounts(
  { network: { xrpc }, appview, logger }: Pick<RestoreContext, 'network' | 'appview' | 'logger'>,
  { service, retry, maxAccounts = MAX_ACCOUNTS }: ListedAccountsOptions,
): AsyncGenerator<string[], string | undefined> {
  const url = service.replace(/^ws/, 'http')
  const seen = new Set<string>()
  for (const { collection } of appview.handlers) {
    let cursor: string | undefined
    let pages = 0
    do {
      if (++pages > MAX_PAGES) return `it lists ${collection} on more than ${MAX_PAGES} pages`
      const after = cursor
      let page: { dids: string[]; cursor: string | undefined } | undefined
      try {
        page = await retryingHost(async () => xrpc.listReposByCollection?.(url, collection, after), retry)
      } catch (error) {
        retry.signal.throwIfAborted()
        if (!(error instanceof ReplayError)) throw error
        logger.warn({ service, collection, error: messageOf(error) }, 'accounts cannot be listed')
        return messageOf(error)
      }
      if (page === undefined) return 'nobody can be asked'
      const dids = page.dids.filter((did) => isValidDid(did) && !seen.has(did))
      for (const did of dids) seen.add(did)
      if (dids.length > 0) yield dids
      if (seen.size > maxAccounts) return `it lists more than ${maxAccounts} accounts`
      cursor = page.cursor
    } while (cursor !== undefined)
  }
  return undefined
}
