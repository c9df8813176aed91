import PQueue from 'p-queue'
import type { Database } from './client.ts'
import { readExact } from './exact.ts'
import { canonicalInstant } from './meaning.ts'

const TABLE = 'restore_marks'
/** Rows in one request: well under a request's size at about 250 bytes each. */
const ROWS_PER_REQUEST = 500
const REQUESTS_AT_ONCE = 4

export interface RestoreMark {
  uri: string
  /** CID of the record as it will be written. */
  cid: string
  did: string
  /** Name of the run that writes it. */
  run: string
}

/**
 * Says, before they are written, which records a restore brings back: live ingestion stays silent about them. Marks
 * that are there already stay as they are.
 */
export async function setMarks(database: Database, marks: readonly RestoreMark[]): Promise<void> {
  const queue = new PQueue({ concurrency: REQUESTS_AT_ONCE })
  const starts = Array.from(
    { length: Math.ceil(marks.length / ROWS_PER_REQUEST) },
    (_, index) => index * ROWS_PER_REQUEST,
  )
  await queue.addAll(
    starts.map((start) => () => setSome(database, marks.slice(start, start + ROWS_PER_REQUEST))),
  )
}

async function setSome(database: Database, marks: readonly RestoreMark[]): Promise<void> {
  const options = { onConflict: 'uri,cid', ignoreDuplicates: true }
  database.check(await database.client.from(TABLE).upsert([...marks], options), { table: TABLE })
}

/** Takes marks back: of records that could not be written after all. */
export async function removeMarks(
  database: Database,
  did: string,
  marks: readonly { uri: string; cid: string }[],
): Promise<void> {
  for (const { uri, cid } of marks) {
    database.check(await database.client.from(TABLE).delete().match({ did, uri, cid }), { table: TABLE })
  }
}

/** The marks of one account, and when each was set, as the database prints it. */
export async function readMarks(
  database: Database,
  did: string,
): Promise<{ uri: string; cid: string; markedAt: string }[]> {
  const marks = await readExact(database, {
    table: TABLE,
    columns: ['uri', 'cid', 'marked_at'],
    key: ['uri', 'cid'],
    filters: [['did', `eq.${did}`]],
  })
  return marks.map(({ uri, cid, marked_at }) => ({
    uri: uri ?? '',
    cid: cid ?? '',
    markedAt: marked_at ?? '',
  }))
}

/** When the first of these was set; undefined of none. */
export function firstMarkedAt(marks: readonly { markedAt: string }[]): string | undefined {
  const times = marks.map((mark) => mark.markedAt)
  return times.sort((a, b) => Number(canonicalInstant(a)) - Number(canonicalInstant(b)))[0]
}
