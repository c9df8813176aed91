import { z } from 'zod'
import type { Database } from './client.ts'
import { retrying } from './retry.ts'

const TABLE = 'firehose_cursors'

/** Where the live consumer of this relay goes on; undefined when it has never run. */
export async function readCursor(database: Database, relay: string): Promise<number | undefined> {
  return (await readCursors(database)).get(relay)
}

const rowsShape = z.array(z.object({ relay: z.string(), seq: z.number() }))

/** By relay, all cursors that there are: a handful, of the relays that have been followed at some time. */
export async function readCursors(database: Database): Promise<Map<string, number>> {
  const answer = await retrying(async () =>
    database.check(await database.client.from(TABLE).select('relay,seq'), { table: TABLE }),
  )
  return new Map(rowsShape.parse(answer).map(({ relay, seq }) => [relay, seq]))
}

export async function saveCursor(database: Database, relay: string, seq: number): Promise<void> {
  const row = { relay, seq, updated_at: new Date().toISOString() }
  await retrying(async () =>
    database.check(await database.client.from(TABLE).upsert(row, { onConflict: 'relay' }), { table: TABLE }),
  )
}
