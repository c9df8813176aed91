import type { Database } from './client.ts'

const REQUESTS = 'write_requests'
const FAILURES = 'write_failures'
/** A run waits a day for a rate limit at most, and Inngest retries for hours: after this nobody comes back. */
const KEPT_MS = 30 * 24 * 60 * 60 * 1000

/** Records that wait to be written, as one text. */
export interface RequestRow {
  id: string
  did: string
  /** Their JSON: it comes back byte for byte. */
  records: string
}

/** A row that is there under this id stays as it is. Rows that nobody came back for are swept first. */
export async function putRequest(
  database: Database,
  row: RequestRow,
  now: () => number = Date.now,
): Promise<void> {
  await sweep(database, new Date(now() - KEPT_MS).toISOString())
  database.check(
    await database.client.from(REQUESTS).upsert(row, { onConflict: 'id', ignoreDuplicates: true }),
    { table: REQUESTS },
  )
}

/** The records' JSON; undefined where there is no such row any more. */
export async function readRequest(
  database: Database,
  { id, did }: Pick<RequestRow, 'id' | 'did'>,
): Promise<string | undefined> {
  const answer = await database.client.from(REQUESTS).select('records').eq('id', id).eq('did', did)
  return database.check(answer, { table: REQUESTS })?.[0]?.records
}

export async function dropRequest(
  database: Database,
  { id, did }: Pick<RequestRow, 'id' | 'did'>,
): Promise<void> {
  const answer = await database.client.from(REQUESTS).delete().eq('id', id).eq('did', did)
  database.check(answer, { table: REQUESTS })
}

/** A run that was to write records and failed. */
export interface FailureRow {
  run_id: string
  did: string
  run: string | null
  error: string
  message: string
  hint: string
  /** ISO 8601. */
  failed_at: string
}

/** One run has one row: the first. */
export async function putFailure(database: Database, row: FailureRow): Promise<void> {
  database.check(
    await database.client.from(FAILURES).upsert(row, { onConflict: 'run_id', ignoreDuplicates: true }),
    { table: FAILURES },
  )
}

/** Whether the database answers, and has the table. @throws UnavailableError, ConfigError */
export async function checkRequests(database: Database, signal: AbortSignal): Promise<void> {
  const answer = await database.client.from(REQUESTS).select('id').limit(1).abortSignal(signal)
  database.check(answer, { table: REQUESTS })
}

async function sweep(database: Database, before: string): Promise<void> {
  const { client } = database
  database.check(await client.from(REQUESTS).delete().lt('created_at', before), { table: REQUESTS })
  database.check(await client.from(FAILURES).delete().lt('failed_at', before), { table: FAILURES })
}
