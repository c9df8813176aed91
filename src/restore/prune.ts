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
  // What rests on the backup alone was brought back without its record, and on purpose.
  for (const { uri, cid } of await readMarks(production, did)) if (cid === NOT_WRITTEN) gone.add(uri)
  const tables = new Map(
    appview.handlers.map(({ derives: [{ table, of }] }) => [`${table} ${of}`, { table, of }]),
  )
  for (const { table, of } of tables.values()) {
    const rows = await readExact(production, {
      table,
      columns: [of],
      key: [of],
      filters: [[of, ownedBy(did)]],
    })
    for (const row of rows) {
      const uri = row[of]
      // A tombstone with a row: the row came after the delete, by whatever way, and is not ours to judge.
      if (uri && !gone.has(uri)) records.set(uri, { ...records.get(uri), table })
    }
  }
  return { records }
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
