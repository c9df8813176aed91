import { z } from 'zod'
import type { Database } from './client.ts'
import { inLists, quoteValue } from './exact.ts'

const TABLE = 'dead_letters'

/**
 * Letters in one page. A record may have a megabyte; most have a few kilobytes, so that this is well under one.
 */
const PAGE = 100

/** The code of a letter about a whole repo, whose events could not be read; its `uri` is `at://DID`. */
export const BROKEN_REPO = 'BROKEN_REPO'

/** The code of a letter that keeps bytes of which no event could be made: of a record, or of a message of a relay. */
export const UNREADABLE = 'UNREADABLE'

/** The code of a letter about frames that were missed; its `uri` is the relay. */
export const GAP = 'GAP'

/**
 * The code of a letter about an account that is said to be gone, while nobody who knows could be asked; its `uri` is
 * `at://DID`, its event what was said.
 */
export const ACCOUNT = 'ACCOUNT'

/** The code of a letter whose event the operator's own function rejected. */
export const HANDLER = 'HANDLER'

/** The source of a letter about a row that waited and could not be written when its turn came: made by our SQL. */
export const PARKED = 'parked'

/** An event that could not be applied, as it is kept. */
export interface DeadLetter {
  id: number
  uri: string
  rev: string
  /** Where the event came from; `parked` for a row that waited. */
  source: string
  seq: number
  /** The whole event, as JSON; what else there was to keep where there was none. */
  event: string
  /** SQLSTATE, or a word of ours for what was found without the database. */
  code: string
  error: string
  failedAt: string
}

/** Which letters are meant: those of one account, these, or all. */
export interface LetterSelection {
  did?: string
  ids?: readonly number[]
}

export type NewLetter = Omit<DeadLetter, 'id' | 'failedAt'>

const rowShape = z
  .object({
    id: z.number(),
    uri: z.string(),
    rev: z.string(),
    source: z.string(),
    seq: z.number(),
    event: z.string(),
    code: z.string(),
    error: z.string(),
    failed_at: z.string(),
  })
  .transform(({ failed_at: failedAt, ...row }): DeadLetter => ({ ...row, failedAt }))

/** Keeps letters. The same event twice is one letter, with the reason that it failed for last. */
export async function insertDeadLetters(database: Database, letters: readonly NewLetter[]): Promise<void> {
  const failed_at = new Date().toISOString()
  const rows = letters.map((letter) => ({ ...letter, failed_at }))
  database.check(await database.client.from(TABLE).upsert(rows, { onConflict: 'uri,rev' }), { table: TABLE })
}

export async function countDeadLetters(database: Database, selection: LetterSelection = {}): Promise<number> {
  let query = database.client.from(TABLE).select('id', { count: 'exact', head: true })
  for (const [column, condition] of conditionsOf(selection)) query = query.filter(column, 'in', condition)
  const answer = await query
  database.check(answer, { table: TABLE })
  return z.number().parse(answer.count)
}

/** Page by page, oldest first, up to the newest letter there is when the reading begins. */
export async function* readDeadLetters(
  database: Database,
  selection: LetterSelection = {},
): AsyncGenerator<DeadLetter[]> {
  const newest = await newestId(database)
  for (let after = 0; after < newest; ) {
    let query = database.client.from(TABLE).select(COLUMNS).gt('id', after).lte('id', newest)
    for (const [column, condition] of conditionsOf(selection)) query = query.filter(column, 'in', condition)
    query = query.order('id').limit(PAGE)
    const page = z.array(rowShape).parse(database.check(await query, { table: TABLE }))
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = last.id
  }
}

/** Letters that are not there any more are no error. @returns how many were removed */
export async function deleteDeadLetters(database: Database, ids: readonly number[]): Promise<number> {
  let removed = 0
  for (const list of inLists(ids.map(String))) {
    const query = database.client
      .from(TABLE)
      .delete()
      .filter('id', 'in', list.slice('in.'.length))
      .select('id')
    removed += z
      .array(z.object({ id: z.number() }))
      .parse(database.check(await query, { table: TABLE })).length
  }
  return removed
}

/**
 * Removes letters that are still what was read of them: one that has failed anew meanwhile is the same row with a
 * later `failedAt`, and stays.
 */
export async function deleteLettersAsRead(
  database: Database,
  letters: readonly Pick<DeadLetter, 'id' | 'failedAt'>[],
): Promise<void> {
  for (const [failedAt, together] of Map.groupBy(letters, (letter) => letter.failedAt)) {
    for (const list of inLists(together.map(({ id }) => String(id)))) {
      const query = database.client.from(TABLE).delete().eq('failed_at', failedAt)
      database.check(await query.filter('id', 'in', list.slice('in.'.length)), { table: TABLE })
    }
  }
}

/**
 * Makes room for another letter of the same record and revision. Our SQL leaves the letter that it finds as it is, so
 * that nobody could tell afterwards whether the row was refused again.
 */
export async function setLetterAside(
  database: Database,
  { id, rev }: Pick<DeadLetter, 'id' | 'rev'>,
): Promise<void> {
  const query = database.client
    .from(TABLE)
    .update({ rev: `${rev.split(' ')[0]} tried again ${id}` })
    .eq('id', id)
  database.check(await query, { table: TABLE })
}

async function newestId(database: Database): Promise<number> {
  const query = database.client.from(TABLE).select('id').order('id', { ascending: false }).limit(1)
  const rows = z.array(z.object({ id: z.number() })).parse(database.check(await query, { table: TABLE }))
  return rows[0]?.id ?? 0
}

const COLUMNS = 'id,uri,rev,source,seq,event,code,error,failed_at'

/** By column, the values that it may have, as PostgREST lists. */
function conditionsOf({ did, ids }: LetterSelection): [column: string, list: string][] {
  return [
    ...(did === undefined ? [] : [['did', `(${quoteValue(did)})`] as [string, string]]),
    ...(ids === undefined ? [] : [['id', `(${ids.join(',')})`] as [string, string]]),
  ]
}
