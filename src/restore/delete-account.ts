import { parseCidSafe } from '@atproto/lex'
import { isValidAtUri } from '@atproto/syntax'
import { deleteReceipt } from '../database/receipts.ts'
import { readRecordStates } from '../database/record-state.ts'
import { deleteOf } from '../firehose/repo-events.ts'
import { Indexer } from '../indexer/indexer.ts'
import { encodeRecord } from '../repo/record.ts'
import type { RestoreContext } from './context.ts'
import { readOwnRows } from './prune.ts'
import { ranksOf } from './write.ts'

/** The first of all TIDs: whatever a repo says of a record of which no revision is known is newer. */
const FIRST_REV = '2222222222222'

/**
 * Takes away what the index has of an account, as if each record had been deleted at the revision at which it was
 * seen last: whatever the repo says later, or says again in a replay, is newer. Rows too of which there is no record
 * state, as the appview's own indexer leaves them. What a cascade takes of other accounts waits, as with any delete.
 *
 * @returns how many records were taken away
 */
export async function deleteAccountRecords(
  context: Pick<RestoreContext, 'appview' | 'production' | 'logger'>,
  did: string,
): Promise<number> {
  const { appview, production, logger } = context
  const rankOf = ranksOf(context)
  const states = await readRecordStates(production, did)
  const rows = await readOwnRows(context, did)
  const standing = [...states.values()].filter(({ deleted }) => !deleted).map(({ uri }) => uri)
  const records = [...new Set([...standing, ...rows.keys()])].flatMap((uri) => {
    const [collection = '', rkey = ''] = uri.split('/').slice(3)
    const rank = rankOf(collection)
    return rank === undefined || !isValidAtUri(uri) || rkey === '' ? [] : [{ uri, collection, rkey, rank }]
  })
  const indexer = new Indexer({ appview, database: production, logger })
  const time = new Date().toISOString()
  // Children first: a cascade would park what is to go as well.
  for (const { uri, collection, rkey } of records.toSorted((a, b) => b.rank - a.rank)) {
    const { rev = FIRST_REV, cid: text } = states.get(uri) ?? {}
    const cid = parseCidSafe(text ?? '') ?? undefined
    // No commit says so; the record's own CID, which the tombstone keeps, stands in for one.
    const revision = { did, rev, commit: cid ?? encodeRecord({}).cid, time }
    await indexer.handle(deleteOf(revision, { collection, rkey, ...(cid && { cid }) }))
  }
  await indexer.flush()
  // An account may come back at the very revision that it left with, and must not pass for one that is up to date.
  await deleteReceipt(production, did)
  logger.info({ did, count: records.length }, 'records of an account that is gone taken away')
  return records.length
}
