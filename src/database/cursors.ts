import type { Database } from './client.ts'

const TABLE = 'firehose_cursors'

/** Where the live consumer of this relay goes on; undefined when it has never run. */
export async function readCursor(database: Database, relay: string): Promise<number | undefined> {
  const rows: unknown = database.check(await database.client.from(TABLE).select('seq').eq('relay', relay), {
    table: TABLE,
  })
  const [row] = Array.isArray(rows) ? (rows as { seq: number }[]) : []
  return row?.seq
}

export async function saveCursor(database: Database, relay: string, seq: number): Promise<void> {
  const row = { relay, seq, updated_at: new Date().toISOString() }
  database.check(await database.client.from(TABLE).upsert(row, { onConflict: 'relay' }), { table: TABLE })
}
