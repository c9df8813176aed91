import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import { readMarks } from '../database/marks.ts'
import { canonicalInstant } from '../database/meaning.ts'
import { VerificationError } from '../errors.ts'
import type { AppView } from '../events.ts'
import { asEvent } from '../pds/as-event.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import { readCurrentRows } from '../reconcile/current.ts'
import { NOT_WRITTEN } from '../reconcile/marks.ts'
import { recordFromBytes } from '../repo/record.ts'
import type { RepoRecord, VerifiedRepo } from '../repo/verified-repo.ts'
import type { RestoreContext } from './context.ts'

/**
 * By URI, why a record that is in the repo now is not to be overwritten by the snapshot's:
 * - It was never deleted: its row has stood ever since the backup, so what differs was edited by its author and is
 *   newer. (A record created again under a lost key has a row made anew.) Unless a restore wrote it: then it was lost
 *   after all, and its row set back; it may be the record without the pictures that could not be had then. Or unless its
 *   row was brought without it: then it was lost too, and what is there now was created again.
 * - It is one that its handler skips: what its row says is kept elsewhere, as pages in a blob are. The row's own
 *   words would take its place, and lose that.
 * - It could not be saved before it is overwritten.
 */
export async function keptRecords(
  context: RestoreContext,
  { snapshot, catalog, records, repo }: KeptRecordsInput,
): Promise<Map<string, string>> {
  const kept = new Map<string, string>()
  for (const record of records) {
    const { uri } = record
    const name = recordNameOf(uri)
    const live = name && repo.get(name.collection, name.rkey)
    if (live === undefined || ('cid' in record && live.cid.toString() === record.cid)) continue
    const reason = whyLiveStays(uri, live, context.appview)
    if (reason !== undefined) kept.set(uri, reason)
  }
  const marks = await readMarks(context.production, snapshot.did)
  const restored = new Set(marks.map(({ uri, cid }) => `${uri} ${cid}`))
  const written = new Set(marks.filter(({ cid }) => cid !== NOT_WRITTEN).map(({ uri }) => uri))
  const onBackupAlone = new Set(marks.map(({ uri }) => uri).filter((uri) => !written.has(uri)))
  for (const uri of await uninterruptedUris(context, snapshot, catalog)) {
    const name = recordNameOf(uri)
    const live = name && repo.get(name.collection, name.rkey)
    if (live !== undefined && restored.has(`${uri} ${live.cid.toString()}`)) continue
    if (onBackupAlone.has(uri)) continue
    if (!kept.has(uri)) kept.set(uri, 'edited by its author since the backup')
  }
  return kept
}

export interface KeptRecordsInput {
  snapshot: Snapshot
  catalog: Catalog
  records: readonly (LostRecord | RefusedRecord)[]
  repo: Pick<VerifiedRepo, 'get'>
}

function whyLiveStays(
  uri: string,
  { collection, cid, bytes }: RepoRecord,
  { handlers }: Pick<AppView, 'handlers'>,
): string | undefined {
  const handler = handlers.find((candidate) => candidate.collection === collection)
  try {
    const result = handler?.rows(asEvent(uri, { cid, record: recordFromBytes(bytes) }))
    return result?.outcome === 'skipped' ? `the record there now holds more: ${result.reason}` : undefined
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error
    return `the record there now could not be saved before it is overwritten: ${error.message}`
  }
}

async function uninterruptedUris(
  context: RestoreContext,
  snapshot: Snapshot,
  catalog: Catalog,
): Promise<Set<string>> {
  const roots = snapshot.tables.filter(({ table }) =>
    context.appview.roots.some((root) => root.table === table),
  )
  const current = await readCurrentRows(context.production, catalog, roots, { sameAsRows: false })
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
