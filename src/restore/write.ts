import { AtUri } from '@atproto/syntax'
import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { removeMarks, setMarks } from '../database/marks.ts'
import { canonicalInstant } from '../database/meaning.ts'
import { type RecordState, readRecordStates } from '../database/record-state.ts'
import { shouldRetry } from '../errors.ts'
import type { JsonObject } from '../events.ts'
import { type LostRecord, lostRecordOf, type RefusedRecord } from '../pds/lost-record.ts'
import { type ConflictPolicy, planWrite, type WritePlan } from '../pds/plan.ts'
import { fetchRepo, type LiveRepo } from '../pds/repo.ts'
import { readCurrentRows } from '../reconcile/current.ts'
import { lexToJson, recordFromBytes } from '../repo/record.ts'
import type { RestoreContext, Writer, WriteSummary } from './context.ts'

export interface PreparedWrite {
  plan: WritePlan
  records: readonly (LostRecord | RefusedRecord)[]
  repo: LiveRepo
  /** The records that would be overwritten, as they are now: kept before they go. */
  overwritten: { uri: string; cid: string; record: JsonObject }[]
}

/** Turns the snapshot's root rows back into records and holds them against the live repo. Nothing is written. */
export async function prepareWrite(
  context: RestoreContext,
  { snapshot, catalog, onConflict }: { snapshot: Snapshot; catalog: Catalog; onConflict: ConflictPolicy },
): Promise<PreparedWrite> {
  const repo = await fetchRepo(snapshot.did, context.network)
  const states = await readRecordStates(context.production, snapshot.did)
  const records = lostRecords(context, snapshot, repo, states)
  const neverLost = await uninterruptedUris(context, snapshot, catalog)
  const plan = planWrite(records, repo, onConflict, neverLost)
  return { plan, records, repo, overwritten: overwrittenBy(plan, repo) }
}

function overwrittenBy(plan: WritePlan, repo: LiveRepo): PreparedWrite['overwritten'] {
  return plan.records.flatMap(({ uri, action }) => {
    const { collection, rkey } = new AtUri(uri)
    const live = action === 'overwrite' ? repo.get(collection, rkey) : undefined
    if (live === undefined) return []
    return [{ uri, cid: live.cid.toString(), record: lexToJson(recordFromBytes(live.bytes)) as JsonObject }]
  })
}

/** Marks what is to be written, so that live ingestion stays silent about it, then has it written. */
export async function executeWrite(
  context: RestoreContext,
  writer: Writer,
  { plan, records }: PreparedWrite,
  {
    run,
    onConflict,
    onProgress,
  }: { run: string; onConflict: ConflictPolicy; onProgress?: (done: number, total: number) => void },
): Promise<WriteSummary> {
  const { did } = plan
  const wanted = new Set(
    plan.records.filter(({ action }) => action === 'create' || action === 'overwrite').map(({ uri }) => uri),
  )
  const toWrite = records.filter(
    (record): record is LostRecord => 'record' in record && wanted.has(record.uri),
  )
  await setMarks(
    context.production,
    toWrite.map(({ uri, cid }) => ({ uri, cid, did, run })),
  )
  const refused = plan.records
    .filter(({ action }) => action === 'refuse')
    .map(({ uri, reason }) => ({ uri, reason: reason ?? 'refused' }))
  if (toWrite.length === 0)
    return { success: refused.length === 0, recordsWritten: 0, batchCount: 0, notWritten: refused }
  const rankOf = ranksOf(context)
  const ordered = [...toWrite].sort((a, b) => (rankOf(a.collection) ?? 0) - (rankOf(b.collection) ?? 0))
  try {
    const summary = await writer({
      did,
      run,
      records: ordered.map(({ collection, rkey, record }) => ({ collection, rkey, record })),
      onConflict,
      ...(onProgress === undefined ? {} : { onProgress }),
    })
    if (summary.recordsWritten < toWrite.length) await unmarkAbsent(context, did, toWrite)
    return {
      ...summary,
      success: summary.success && refused.length === 0,
      notWritten: [...refused, ...summary.notWritten],
    }
  } catch (error) {
    // One that may pass leaves the marks: what was sent may still arrive.
    if (!shouldRetry(error)) await unmarkAbsent(context, did, toWrite)
    throw error
  }
}

/** What did not arrive is no longer waited for: a record that the PDS refuses must not hold up the others. */
async function unmarkAbsent(
  context: RestoreContext,
  did: string,
  sent: readonly LostRecord[],
): Promise<void> {
  const repo = await fetchRepo(did, context.network)
  const absent = sent.filter(
    ({ collection, rkey, cid }) => repo.get(collection, rkey)?.cid.toString() !== cid,
  )
  await removeMarks(context.production, did, absent)
}

/** The order of an appview's collections, parents first; undefined for those it does not index. */
export function ranksOf({
  appview,
}: Pick<RestoreContext, 'appview'>): (collection: string) => number | undefined {
  const ranks = new Map(appview.handlers.map((handler) => [handler.collection, handler.rank]))
  return (collection) => ranks.get(collection)
}

function lostRecords(
  { appview }: RestoreContext,
  snapshot: Snapshot,
  repo: LiveRepo,
  states: ReadonlyMap<string, RecordState>,
): (LostRecord | RefusedRecord)[] {
  return appview.roots.flatMap((root) => {
    const table = snapshot.tables.find((candidate) => candidate.table === root.table)
    if (table === undefined) return []
    const isJson = new Set(
      table.columns.filter(({ type }) => type === 'json' || type === 'jsonb').map(({ name }) => name),
    )
    return table.rows.map((row) => {
      const uri = row[root.uriColumn] ?? ''
      const { collection, rkey } = new AtUri(uri)
      const rootRow = { uri, recordColumn: root.recordColumn, row: parsed(row, isJson) }
      const liveCid = repo.get(collection, rkey)?.cid.toString()
      const state = states.get(uri)
      const tombstone = state?.deleted === true ? (state.cid ?? undefined) : undefined
      if (liveCid === undefined) return lostRecordOf(rootRow, appview, tombstone)
      // There is a record under this key. Either it is the one that the row was made from, or it says nothing about
      // the CID of the one that was lost.
      const record = lostRecordOf(rootRow, appview, liveCid)
      return 'record' in record && record.proof === 'proven'
        ? record
        : lostRecordOf(rootRow, appview, undefined)
    })
  })
}

function parsed(row: ExactRow, isJson: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(
    Object.entries(row).map(([column, text]) => [
      column,
      text !== null && isJson.has(column) ? JSON.parse(text) : text,
    ]),
  )
}

/**
 * Records whose row has stood ever since the backup: they were never deleted, so what differs was edited by their
 * author and is newer. (A record created again under a lost key has a row made anew.)
 */
async function uninterruptedUris(
  context: RestoreContext,
  snapshot: Snapshot,
  catalog: Catalog,
): Promise<Set<string>> {
  const roots = snapshot.tables.filter(({ table }) =>
    context.appview.roots.some((root) => root.table === table),
  )
  const current = await readCurrentRows(context.production, catalog, roots)
  const uris = new Set<string>()
  for (const root of context.appview.roots) {
    const table = roots.find((candidate) => candidate.table === root.table)
    if (table === undefined) continue
    const births = catalog.birthColumns(table.table)
    for (const row of table.rows) {
      const now = current.get(table.table)?.get(rowId(row, table.key))
      const uri = row[root.uriColumn]
      if (now === undefined || uri == null) continue
      if (births.every((column) => sameInstant(now[column], row[column]))) uris.add(uri)
    }
  }
  return uris
}

function sameInstant(a: string | null | undefined, b: string | null | undefined): boolean {
  const instant = (text: string | null | undefined): string | null => (text ? canonicalInstant(text) : null)
  return instant(a) === instant(b)
}
