import { DatabaseError, VerificationError } from '../errors.ts'
import type { Database } from './client.ts'

/** A row as the database prints it: every column as text, so that no digit, microsecond or NULL is lost. */
export type ExactRow = Record<string, string | null>

export interface ExactRead {
  table: string
  columns: readonly string[]
  /** A unique key without NULLs: the order of the pages. */
  key: readonly string[]
  /** PostgREST filters, as `['uri', 'like.at://did:plc:x/*']`; all must hold. */
  filters?: readonly (readonly [column: string, condition: string])[]
  /** Rows asked for at a time, at most. The server may give fewer; that is not the end. @defaultValue 1000 */
  pageSize?: number
}

/** Until it shows how large rows are. */
const FIRST_PAGE = 100
const PAGE_SIZE = 1000
/** Rows are asked for in pages of about this many characters: what an answer takes in memory, and a statement in time. */
const PAGE_CHARS = 2_000_000

/** All rows of `readPages` in memory. @throws as it does */
export async function readExact(database: Database, read: ExactRead): Promise<ExactRow[]> {
  const rows: ExactRow[] = []
  for await (const page of readPages(database, read)) for (const row of page) rows.push(row)
  return rows
}

/**
 * Reads rows in pages by key, and holds their number against exact counts: a page limit, row-level security or a table
 * that moves underneath is an error, never a shorter result. The first page brings a count from the same statement,
 * and where it is not the whole another one is taken after the last page, which is given only then.
 *
 * @throws DatabaseError code `COUNT` when the numbers do not agree
 */
export async function* readPages(database: Database, read: ExactRead): AsyncGenerator<ExactRow[], undefined> {
  const most = read.pageSize ?? PAGE_SIZE
  const { rows: first, count: before } = await readFirstPage(database, {
    ...read,
    pageSize: Math.min(most, FIRST_PAGE),
  })
  if (first.length > before)
    throw disagreement(database, read, { before, count: first.length, after: before })
  let page = first
  let count = 0
  for (;;) {
    count += page.length
    if (page.length === 0 || count >= before) {
      const after = page === first ? before : await countRows(database, read)
      if (count !== before || count !== after) throw disagreement(database, read, { before, count, after })
    }
    if (page.length > 0) yield page
    if (count >= before) return
    const pageSize = Math.max(1, Math.min(most, Math.floor((PAGE_CHARS * page.length) / charsOf(page))))
    page = await readPage(database, { ...read, pageSize }, page.at(-1))
  }
}

function charsOf(page: readonly ExactRow[]): number {
  let chars = 1
  for (const row of page) for (const value of Object.values(row)) chars += value?.length ?? 0
  return chars
}

function disagreement(
  { label }: Database,
  { table }: ExactRead,
  { before, count, after }: Record<'before' | 'count' | 'after', number>,
): DatabaseError {
  return new DatabaseError(
    `Reading "${table}" from the ${label} database gave ${count} rows, but it counts ${before} before and ${after} after.`,
    {
      code: 'COUNT',
      table,
      hint: 'Something writes to it, or a limit cuts answers short. Read from a database at rest, then run again.',
    },
  )
}

/** Exact number of rows that a read would give. */
export async function countRows(
  database: Database,
  read: Pick<ExactRead, 'table' | 'filters'>,
): Promise<number> {
  let query = database.client.from(read.table).select('*', { count: 'exact', head: true })
  for (const [column, condition] of read.filters ?? [])
    query = query.filter(filterName(column), ...splitCondition(condition))
  const answer = await query
  database.check(answer, { table: read.table })
  if (typeof answer.count !== 'number') throw notCounted(database, read)
  return answer.count
}

function notCounted({ label }: Database, { table }: Pick<ExactRead, 'table'>): DatabaseError {
  return new DatabaseError(`The ${label} database did not count "${table}".`, { code: 'COUNT', table })
}

async function readPage(
  database: Database,
  read: ExactRead,
  last: ExactRow | undefined,
): Promise<ExactRow[]> {
  let query = pageQuery(database, read)
  const [first = '', ...others] = read.key
  if (last !== undefined && others.length === 0) query = query.gt(filterName(first), last[first])
  else if (last !== undefined) query = query.or(after(read.key, last))
  return namedRows(read, database.check(await query, { table: read.table }))
}

/** With the exact number of rows that all pages together should have. */
async function readFirstPage(
  database: Database,
  read: ExactRead,
): Promise<{ rows: ExactRow[]; count: number }> {
  const answer = await pageQuery(database, read, { count: 'exact' })
  const rows = namedRows(read, database.check(answer, { table: read.table }))
  if (typeof answer.count !== 'number') throw notCounted(database, read)
  return { rows, count: answer.count }
}

function pageQuery(database: Database, read: ExactRead, options: { count?: 'exact' } = {}) {
  let query = database.client
    .from(read.table)
    // Under names of their own: ORDER BY a column's bare name would sort by the text that is selected under it.
    .select(read.columns.map((column, index) => `c${index}:${quoteName(column)}::text`).join(','), options)
    .limit(read.pageSize ?? PAGE_SIZE)
  for (const column of read.key) query = query.order(filterName(column), { ascending: true })
  for (const [column, condition] of read.filters ?? [])
    query = query.filter(filterName(column), ...splitCondition(condition))
  return query
}

function namedRows({ columns }: ExactRead, answered: unknown): ExactRow[] {
  return (answered as ExactRow[]).map((row) =>
    Object.fromEntries(columns.map((column, index) => [column, row[`c${index}`] ?? null])),
  )
}

/**
 * PostgREST condition for "greater than this row by key": a > x, or a = x and b > y, ... Supabase Lite takes the escapes
 * of a quoted value for part of the value here, except in lists; where that leads it astray the counts disagree.
 */
function after(key: readonly string[], row: ExactRow): string {
  return key
    .map((column, index) => {
      const equal = key.slice(0, index).map((c) => `${filterName(c)}.in.(${quoteValue(row[c] ?? '')})`)
      const terms = [...equal, `${filterName(column)}.gt.${quoteValue(row[column] ?? '')}`]
      return terms.length === 1 ? terms[0] : `and(${terms.join(',')})`
    })
    .join(',')
}

function splitCondition(condition: string): [operator: string, value: string] {
  const dot = condition.indexOf('.')
  return [condition.slice(0, dot), condition.slice(dot + 1)]
}

/** A value inside a PostgREST list or logic tree. */
export function quoteValue(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/**
 * A column as filters and orders name it. Paths into JSON (`data->site->>uri`) and PostgREST's own words (`and`) stay
 * as they are; other names are quoted where PostgREST would read more than a name in them. (Not where they need none:
 * Lite takes the quotes for a part of the name.)
 */
export function filterName(column: string): string {
  return column.includes('->') || /^[\p{L}\p{N}_ $]+(-[\p{L}\p{N}_ $]+)*$/u.test(column)
    ? column
    : `"${column.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

function quoteName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/**
 * Cuts values into `in` lists short enough for a URL.
 *
 * @param maxBytes length of one list in the URL. @defaultValue 4000, half of what common proxies and PostgREST's
 * own client accept (8,000), because select and order take their share.
 */
export function inLists(values: readonly string[], maxBytes = 4000): string[] {
  const lists: string[] = []
  let current: string[] = []
  let size = 0
  for (const value of values) {
    const quoted = quoteValue(value)
    // As the client writes it into the URL: `~`, `'` and brackets become three bytes there, with a comma's own three.
    const bytes = new URLSearchParams({ '': quoted }).toString().length - 1 + 3
    if (current.length > 0 && size + bytes > maxBytes) {
      lists.push(`in.(${current.join(',')})`)
      current = []
      size = 0
    }
    current.push(quoted)
    size += bytes
  }
  if (current.length > 0) lists.push(`in.(${current.join(',')})`)
  return lists
}

/**
 * Condition for AT-URIs of one account. LIKE's own characters in the DID are escaped; PostgREST's `*` is its `%`.
 *
 * @throws VerificationError when the DID holds a `*`, as none does: it cannot be escaped, and would stand for others
 */
export function ownedBy(did: string): string {
  if (did.includes('*')) {
    throw new VerificationError(`${JSON.stringify(did.slice(0, 100))} is not a DID`, {
      hint: 'Name one account by its DID, as did:plc:… or did:web:….',
    })
  }
  return `like.at://${did.replace(/[\\%_]/g, '\\$&')}/*`
}
