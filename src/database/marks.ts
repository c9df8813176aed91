import type { Database } from './client.ts'
import { readExact } from './exact.ts'

const TABLE = 'restore_marks'
/** Rows in one request: well under a request's size at about 250 bytes each. */
const ROWS_PER_REQUEST = 500

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
  for (let start = 0; start < marks.length; start += ROWS_PER_REQUEST) {
    database.check(
      await database.client
        .from(TABLE)
        .upsert(marks.slice(start, start + ROWS_PER_REQUEST), {
          onConflict: 'uri,cid',
          ignoreDuplicates: true,
        }),
      { table: TABLE },
    )
  }
}

/** When the first record of this account was marked, as the database prints it; undefined when none ever was. */
export async function firstMarkedAt(database: Database, did: string): Promise<string | undefined> {
  const marks = await readExact(database, {
    table: TABLE,
    columns: ['uri', 'cid', 'marked_at'],
    key: ['uri', 'cid'],
    filters: [['did', `eq.${did}`]],
  })
  const times = marks.map((mark) => mark.marked_at ?? '').sort((a, b) => Date.parse(a) - Date.parse(b))
  return times[0]
}
