import type { CatchUpReceipt } from '../events.ts'
import type { Database } from './client.ts'

const TABLE = 'replay_receipts'

/** Remembers that the index has reached this revision of the repo. */
export async function saveReceipt(database: Database, receipt: CatchUpReceipt): Promise<void> {
  const known = await readReceipt(database, receipt.did)
  if (known?.rev === receipt.rev && known.commit === receipt.commit) return
  const row = { ...receipt, finished_at: new Date().toISOString() }
  database.check(await database.client.from(TABLE).upsert(row, { onConflict: 'did' }), { table: TABLE })
}

/** The index does not hold any more what it had reached. */
export async function deleteReceipt(database: Database, did: string): Promise<void> {
  database.check(await database.client.from(TABLE).delete().eq('did', did), { table: TABLE })
}

/** The last finished replay of this account, if there was one. */
export async function readReceipt(database: Database, did: string): Promise<CatchUpReceipt | undefined> {
  const rows: unknown = database.check(
    await database.client.from(TABLE).select('did,rev,commit').eq('did', did),
    { table: TABLE },
  )
  return Array.isArray(rows) ? (rows[0] as CatchUpReceipt | undefined) : undefined
}
