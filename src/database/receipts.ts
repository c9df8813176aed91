import type { CatchUpReceipt } from '../events.ts'
import type { Database } from './client.ts'

const TABLE = 'replay_receipts'

/** A receipt as it is kept. */
export interface KeptReceipt extends CatchUpReceipt {
  /** The records that the repo no longer had were looked for: without it the index may hold more than the repo does. */
  withDeletes: boolean
}

/** Remembers that the index has reached this revision of the repo. What is known of the same commit stays known. */
export async function saveReceipt(
  database: Database,
  { did, rev, commit, withDeletes }: KeptReceipt,
): Promise<void> {
  const known = await readReceipt(database, did)
  const isSame = known?.rev === rev && known.commit === commit
  if (isSame && (known.withDeletes || !withDeletes)) return
  const row = { did, rev, commit, with_deletes: withDeletes, finished_at: new Date().toISOString() }
  database.check(await database.client.from(TABLE).upsert(row, { onConflict: 'did' }), { table: TABLE })
}

/** The index does not hold any more what it had reached. */
export async function deleteReceipt(database: Database, did: string): Promise<void> {
  database.check(await database.client.from(TABLE).delete().eq('did', did), { table: TABLE })
}

/** The last finished replay of this account, if there was one. */
export async function readReceipt(database: Database, did: string): Promise<KeptReceipt | undefined> {
  const rows: unknown = database.check(
    await database.client.from(TABLE).select('did,rev,commit,withDeletes:with_deletes').eq('did', did),
    { table: TABLE },
  )
  return Array.isArray(rows) ? (rows[0] as KeptReceipt | undefined) : undefined
}
