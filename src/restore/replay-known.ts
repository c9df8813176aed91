import { readAccounts } from '../database/accounts.ts'
import { readReceipt } from '../database/receipts.ts'
import { PdsError } from '../errors.ts'
import { createHostQueues, type HostQueues } from '../network/host-queues.ts'
import { NoSuchDidError } from '../network/identity.ts'
import type { RestoreContext } from './context.ts'
import { readListedAccounts } from './listed-accounts.ts'
import { type Replayed, replayAccount } from './replay.ts'
import { HostPatience, type HostRetry } from './retry-host.ts'
import { readTableAccounts } from './table-accounts.ts'

export interface ReplayKnownOptions {
  /** Told of an account that could not be replayed; resolves when that is noted. It does not stop the others. */
  onFailed: (did: string, error: unknown) => Promise<void>
  /** Told of an account that was replayed; resolves when what could not be read of it is noted. */
  onReplayed?: (did: string, replayed: Replayed) => Promise<void>
  onProgress?: (done: number) => void
  /**
   * A relay that is asked, after the known accounts, which others have records of the appview's collections: those
   * are replayed, too. @defaultValue nobody is asked
   */
  listedBy?: string
  /** Begins no further account. */
  signal: AbortSignal
  /** Accounts replayed at one time. @defaultValue 4 */
  concurrency?: number
  /** How a host that cannot answer just now is asked again. @defaultValue as HostRetry has it */
  retry?: Omit<HostRetry, 'signal'>
}

/** Repos that one host is asked for at once: fewer than all, so that a slow host does not hold up the others. */
const PER_HOST = 2

export interface ReplayedKnown {
  replayed: number
  /** At the revision of their last replay still. */
  unchanged: number
  failed: number
  /**
   * What `listedBy` was good for: accounts that only it knew, and why its listing is not whole; where it is, no
   * account is left that it knows of. Undefined where nobody was asked.
   */
  listing?: { accounts: number; incomplete?: string }
}

/**
 * Replays every account that the index knows or whose rows the appview's tables hold, deletes included: the answer to
 * frames that were missed, where nobody can say any more whose they were. Accounts whose first record was among these
 * frames are known to nobody here: a relay may list them (`listedBy`), else that is the caller's to note. An account whose repo stands where its last replay
 * left it costs one question, so that a run which was interrupted goes on quickly.
 *
 * @throws the signal's reason when it aborts; what the database says
 */
export async function replayKnownAccounts(
  context: RestoreContext,
  options: ReplayKnownOptions,
): Promise<ReplayedKnown> {
  const { signal, listedBy, retry } = options
  const counts: ReplayedKnown = { replayed: 0, unchanged: 0, failed: 0 }
  const network = { hosts: createHostQueues({ concurrency: PER_HOST }), patience: new HostPatience() }
  const known = new Set<string>()
  const replayPage = pageReplayer(context, { ...options, ...network }, counts)
  for await (const page of accountsOf(context, known)) await replayPage(page, 'known')
  if (listedBy === undefined) return counts
  const listing: NonNullable<ReplayedKnown['listing']> = { accounts: 0 }
  const listed = readListedAccounts(context, { service: listedBy, retry: { ...retry, signal } })
  for (;;) {
    const next = await listed.next()
    if (next.done)
      return { ...counts, listing: next.value ? { ...listing, incomplete: next.value } : listing }
    const unknown = next.value.filter((did) => !known.has(did))
    listing.accounts += unknown.length
    await replayPage(unknown, 'listed')
  }
}

type ReplayOneOptions = ReplayKnownOptions & { hosts: HostQueues; patience: HostPatience }
type Origin = 'known' | 'listed'

/** Replays the accounts of one page side by side, and counts them. */
function pageReplayer(
  context: RestoreContext,
  options: ReplayOneOptions,
  counts: ReplayedKnown,
): (page: readonly string[], origin: Origin) => Promise<void> {
  const { signal, concurrency = 4 } = options
  let done = 0
  return async (page, origin) => {
    const rest = page.values()
    const work = async (): Promise<void> => {
      for (const did of rest) {
        signal.throwIfAborted()
        counts[await replayOne(context, did, origin, options)]++
        options.onProgress?.(++done)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, work))
  }
}

/** Page by page, each account once. @param known is given all of them */
async function* accountsOf(
  { production, appview }: RestoreContext,
  known: Set<string>,
): AsyncGenerator<string[]> {
  for await (const page of readAccounts(production)) {
    for (const did of page) known.add(did)
    yield page
  }
  let page: string[] = []
  for await (const did of readTableAccounts(production, appview)) {
    if (known.has(did)) continue
    known.add(did)
    page.push(did)
    if (page.length < PAGE) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}

const PAGE = 1000

async function replayOne(
  context: RestoreContext,
  did: string,
  origin: Origin,
  { onFailed, onReplayed, signal, retry, hosts, patience }: ReplayOneOptions,
): Promise<'replayed' | 'unchanged' | 'failed'> {
  try {
    const waiting = { ...retry, signal }
    const lookUp = () => context.network.identity.refresh(did)
    const { pdsUrl } = await patience.run(did.startsWith('did:web:') ? did : 'PLC', lookUp, waiting)
    const replay = () => replayIfChanged(context, did, { pdsUrl, signal, onReplayed })
    // Whoever waits for a host keeps a place at it: it has asked for fewer requests, not for others.
    return await hosts.run(pdsUrl, () => patience.run(pdsUrl, replay, waiting))
  } catch (error) {
    signal.throwIfAborted()
    // Of whom nothing is here, nothing is missing while the account is gone: its host says when it is back.
    if (origin === 'listed' && isGone(error)) return 'unchanged'
    await onFailed(did, error)
    return 'failed'
  }
}

const GONE = ['RepoNotFound', 'RepoDeactivated', 'RepoTakendown', 'RepoSuspended']

function isGone(error: unknown): boolean {
  return error instanceof NoSuchDidError || (error instanceof PdsError && GONE.includes(error.error))
}

async function replayIfChanged(
  context: RestoreContext,
  did: string,
  {
    pdsUrl,
    signal,
    onReplayed,
  }: Pick<ReplayKnownOptions, 'signal'> & {
    pdsUrl: string
    onReplayed: ReplayKnownOptions['onReplayed'] | undefined
  },
): Promise<'replayed' | 'unchanged'> {
  signal.throwIfAborted()
  if (await isUnchanged(context, did, pdsUrl)) return 'unchanged'
  const replayed = await replayAccount(context, did, { withDeletes: true, signal })
  await onReplayed?.(did, replayed)
  return 'replayed'
}

async function isUnchanged(
  { production, network }: RestoreContext,
  did: string,
  pdsUrl: string,
): Promise<boolean> {
  const receipt = await readReceipt(production, did)
  // A replay without deletes leaves what the author deleted while nobody listened.
  if (!receipt?.withDeletes) return false
  const latest = await network.xrpc.getLatestCommit(pdsUrl, did)
  return latest.rev === receipt.rev && latest.cid === receipt.commit
}
