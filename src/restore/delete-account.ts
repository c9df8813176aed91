import { parseCidSafe } from '@atproto/lex'
import { AtUri } from '@atproto/syntax'
import { readRecordStates } from '../database/record-state.ts'
import { deleteOf } from '../firehose/repo-events.ts'
import { Indexer } from '../indexer/indexer.ts'
import type { RestoreContext } from './context.ts'

/**
 * Takes away what the index has of an account, as if each record had been deleted at the revision at which it was
 * seen last: whatever the repo says later, or says again in a replay, is newer.
 *
 * @returns how many records were taken away
 */
export async function deleteAccountRecords(context: RestoreContext, did: string): Promise<number> {
  const { appview, production, logger } = context
  const indexer = new Indexer({ appview, database: production, logger })
  const time = new Date().toISOString()
  const handled = new Set(appview.handlers.map(({ collection }) => collection))
  let count = 0
  for (const state of (await readRecordStates(production, did)).values()) {
    const { collection, rkey } = new AtUri(state.uri)
    const cid = parseCidSafe(state.cid ?? '')
    if (state.deleted || cid === null || !handled.has(collection)) continue
    // No commit says so; the record's own CID, which the tombstone keeps, stands in for one.
    await indexer.handle(deleteOf({ did, rev: state.rev, commit: cid, time }, { collection, rkey, cid }))
    count++
  }
  await indexer.flush()
  logger.info({ did, count }, 'records of an account that is gone taken away')
  return count
}
