import type { Database } from './client.ts'
import { ownedBy, readExact } from './exact.ts'

/** What the index knows of a record. */
export interface RecordState {
  uri: string
  rev: string
  /** Present CID; of a deleted record the CID that was deleted, where the delete named it. */
  cid: string | null
  deleted: boolean
}

/** By URI, all records of one account that the index has ever seen. */
export async function readRecordStates(database: Database, did: string): Promise<Map<string, RecordState>> {
  const rows = await readExact(database, {
    table: 'record_state',
    columns: ['uri', 'rev', 'cid', 'deleted'],
    key: ['uri'],
    filters: [['uri', ownedBy(did)]],
  })
  return new Map(
    rows.map(({ uri, rev, cid, deleted }) => [
      uri ?? '',
      { uri: uri ?? '', rev: rev ?? '', cid: cid ?? null, deleted: deleted === 'true' },
    ]),
  )
}
