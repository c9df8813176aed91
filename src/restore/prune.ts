import { isValidAtUri } from '@atproto/syntax'
import { ownedBy, readExact } from '../database/exact.ts'
import { readMarks } from '../database/marks.ts'
import { readRecordStates } from '../database/record-state.ts'
import { NOT_WRITTEN } from '../reconcile/marks.ts'
import type { RestoreContext } from './context.ts'
import { ranksOf } from './write.ts'

/** A record that the tables hold and the repo does not. */
export interface AbsentRecord {
  uri: string
  collection: string
  rkey: string
  /** The table that holds its row; undefined: only our own record state speaks of it. */
  table?: string
}

/** What the index holds of an account: asked before the repo is read, so that nothing newer than the repo is in it. */
export interface Indexed {
  /** By URI, with the table where there is a row. */
  records: ReadonlyMap<string, { rev?: string; table?: string }>
  /** URIs of records whose rows a reconcile has brought without them: they rest on the backup alone. */
  withoutRecord?: ReadonlySet<string>
}

/**
 * Records of the account that stand in record state or have a row of their own. Rows too because the appview's own
 * indexer, or a time before our migration, may have written them.
 */
export async function readIndexed(
  { appview, production }: Pick<RestoreContext, 'appview' | 'production'>,
  did: string,
): Promise<Indexed> {
  const records = new Map<string, { rev?: string; table?: string }>()
  const gone = new Set<string>()
  for (const { uri, rev, deleted } of (await readRecordStates(production, did)).values()) {
    if (deleted) gone.add(uri)
    else records.set(uri, { rev })
  }
  const withoutRecord = await readWithoutRecord(production, did)
  for (const uri of withoutRecord) gone.add(uri)
  for (const [uri, table] of await readOwnRows({ appview, production }, did)) {
    // A tombstone with a row: the row came after the delete, by whatever way, and is not ours to judge.
    if (!gone.has(uri)) records.set(uri, { ...records.get(uri), table })
  }
  return { records, withoutRecord }
}

/**
 * URIs of records whose rows a reconcile has brought back without them, on purpose: because they could not be written,
 * or not yet. That the repo lacks such a record is nothing new, and no reason to take its row.
 */
export async function readWithoutRecord(
  production: RestoreContext['production'],
  did: string,
): Promise<Set<string>> {
  const marks = await readMarks(production, did)
  return new Set(
    marks.filter(({ uri, cid }) => cid === NOT_WRITTEN && isValidAtUri(uri)).map(({ uri }) => uri),
  )
}

/** Those of them that the repo still does not have: what a prune leaves, and must say that it does. */
export function restingOnBackup(
  { withoutRecord = new Set(), records }: Indexed,
  repo: { uris: ReadonlySet<string> },
): string[] {
  return [...withoutRecord].filter((uri) => !repo.uris.has(uri) && records.get(uri)?.rev === undefined).sort()
}

/** The rows that records of the account have of their own: their URIs, with the table. */
export async function readOwnRows(
  { appview, production }: Pick<RestoreContext, 'appview' | 'production'>,
  did: string,
): Promise<Map<string, string>> {
  const rows = new Map<string, string>()
  const tables = new Map(
    appview.handlers.map(({ derives: [{ table, of }] }) => [`${table} ${of}`, { table, of }]),
  )
  for (const { table, of } of tables.values()) {
    const filters: [string, string][] = [[of, ownedBy(did)]]
    for (const row of await readExact(production, { table, columns: [of], key: [of], filters })) {
      const uri = row[of]
      if (uri) rows.set(uri, table)
    }
  }
  return rows
}

/** Those of which the index still says what it said when they were found absent: nobody has written them since. */
export function unchangedSince(
  absent: readonly AbsentRecord[],
  { before, now }: { before: Indexed; now: Indexed },
): AbsentRecord[] {
  return absent.filter(({ uri }) => {
    const [then, present] = [before.records.get(uri), now.records.get(uri)]
    return present !== undefined && present.rev === then?.rev && present.table === then?.table
  })
}

/** Those of them that the repo no longer has, parents first. What the index learnt at a later revision stays. */
export function absentFrom(
  { records }: Indexed,
  repo: { rev: string; uris: ReadonlySet<string> },
  rankOf: (collection: string) => number | undefined,
): AbsentRecord[] {
  const absent: (AbsentRecord & { rank: number })[] = []
  for (const [uri, { rev, table }] of records) {
    if (repo.uris.has(uri) || !isValidAtUri(uri) || (rev !== undefined && rev > repo.rev)) continue
    const [collection = '', rkey = ''] = uri.split('/').slice(3)
    const rank = rankOf(collection)
    if (rank === undefined || rkey === '') continue
    absent.push({ uri, collection, rkey, rank, ...(table === undefined ? {} : { table }) })
  }
  return absent
    .toSorted((a, b) => a.rank - b.rank || (a.uri < b.uri ? -1 : 1))
    .map(({ rank: _, ...record }) => record)
}

/** Handlers of these collections only. */
export function ranksAmong(
  context: Pick<RestoreContext, 'appview'>,
  collections: readonly string[] | undefined,
): (collection: string) => number | undefined {
  const rankOf = ranksOf(context)
  if (collections === undefined) return rankOf
  const wanted = new Set(collections)
  return (collection) => (wanted.has(collection) ? rankOf(collection) : undefined)
}
