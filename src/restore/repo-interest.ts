import { ownedBy } from '../database/exact.ts'
import { ReplayError } from '../errors.ts'
import type { RestoreContext } from './context.ts'
import { ranksOf } from './write.ts'

/**
 * Whether a repo need not be fetched although its frames cannot be trusted: most accounts of a relay have nothing to
 * do with one appview, and a repo may have a gigabyte.
 *
 * The rule: it need not when the index holds nothing of the account, neither record state nor rows, and its PDS, at
 * the revision of the frame or later, names the collections of the repo, some, and none of them ours. What is lost
 * then cannot have been a delete of anything here, nor a record that still stands; what comes later comes live. In
 * any doubt it is fetched: a consumer of the operator's own, whose rows are not known here; a host that does not
 * answer, is behind, or names no collection at all.
 *
 * @param atLeastRev which the frame claimed, where that can be believed
 * @throws what the database says
 */
export async function isNoneOfOurs(
  context: RestoreContext,
  did: string,
  atLeastRev: string | undefined,
): Promise<boolean> {
  const { network, openSink, logger } = context
  const { identity, xrpc } = network
  if (openSink !== undefined || xrpc.listCollections === undefined) return false
  if (await holdsAnything(context, did)) return false
  try {
    const { pdsUrl } = await identity.refresh(did)
    const { rev } = await xrpc.getLatestCommit(pdsUrl, did)
    if (atLeastRev !== undefined && rev < atLeastRev) return false
    const collections = await xrpc.listCollections(pdsUrl, did)
    const rankOf = ranksOf(context)
    const isNone = collections.length > 0 && collections.every((each) => rankOf(each) === undefined)
    if (isNone) logger.info({ did, rev }, 'repo left alone: nothing of it is known here, or of interest')
    return isNone
  } catch (error) {
    if (!(error instanceof ReplayError)) throw error
    logger.debug({ did, error: error.message }, 'what the repo holds is not known; it is fetched')
    return false
  }
}

/** Whether the index knows of a record of the account that stands; looked up by key, so that any account may be asked about. */
export async function holdsRecords(
  { production }: Pick<RestoreContext, 'production'>,
  did: string,
): Promise<boolean> {
  const [, pattern = ''] = /^like\.(.*)$/.exec(ownedBy(did)) ?? []
  const answer = await production.client
    .from('record_state')
    .select('uri')
    .like('uri', pattern)
    .eq('deleted', false)
    .limit(1)
  return (
    production.check<unknown[]>({ ...answer, data: answer.data ?? [] }, { table: 'record_state' }).length > 0
  )
}

async function holdsAnything(
  { appview, production }: Pick<RestoreContext, 'appview' | 'production'>,
  did: string,
): Promise<boolean> {
  const columns = new Map([['record_state.uri', { table: 'record_state', of: 'uri' }]])
  for (const { derives } of appview.handlers)
    for (const { table, of } of derives) columns.set(`${table}.${of}`, { table, of })
  const [, pattern = ''] = /^like\.(.*)$/.exec(ownedBy(did)) ?? []
  for (const { table, of } of columns.values()) {
    const answer = await production.client.from(table).select(of).like(of, pattern).limit(1)
    if (production.check<unknown[]>({ ...answer, data: answer.data ?? [] }, { table }).length > 0) return true
  }
  return false
}
