import type { Database } from './client.ts'
import { readExact } from './exact.ts'
import { canonicalInstant } from './meaning.ts'

const TABLE = 'restore_marks'
/** About 250 bytes each. */
const MARKS_PER_CALL = 4000

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
  for (let start = 0; start < marks.length; start += MARKS_PER_CALL) {
    await database.call('firehose_replay_mark', marks.slice(start, start + MARKS_PER_CALL))
  }
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
