import { derivedTable } from '../appview/derived.ts'
import { edgesOf } from '../backup/edges.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import type { ClassifiedRow } from './classified-row.ts'
import { mayBeFresh } from './column-defaults.ts'
import { type Evidence, recordUriOf } from './evidence.ts'
import type { NewerRows } from './newer-rows.ts'
import type { ReconciledRow } from './reconciled.ts'
import { refusalText } from './refused.ts'
import { differingColumns } from './row-diff.ts'

type Finding = Omit<ClassifiedRow, 'backup' | 'production'>

/**
 * Every row of the snapshot's table, and every row more that production has of the account.
 *
 * @param present rows of production: those of the snapshot's keys, and those that hang on the account now, by id
 * @param newer rows of the tables before this one that came or changed after the backup; this table's are added
 */
export function classifyTable(
  table: SnapshotTable,
  present: ReadonlyMap<string, ExactRow>,
  evidence: Evidence,
  newer: NewerRows,
): ClassifiedRow[] {
  const expected = new Set<string>()
  const classified: ClassifiedRow[] = table.rows.map((backup) => {
    const id = rowId(backup, table.key)
    expected.add(id)
    const production = present.get(id)
    const said = evidence.outcomes?.of(table.table, id)
    const finding =
      production === undefined
        ? missing(table, backup, said, evidence)
        : comparePresent(table, backup, production, said, evidence)
    return { ...finding, backup, production }
  })
  for (const [id, production] of present) {
    if (!expected.has(id))
      classified.push({ ...newer.explain(table, production), backup: undefined, production })
  }
  newer.add(table.table, classified)
  return classified
}

function missing(
  { table }: SnapshotTable,
  row: ExactRow,
  said: ReconciledRow | undefined,
  { appview, records, refusals, states }: Evidence,
): Finding {
  const uri = recordUriOf(appview, table, row)
  const record = uri === undefined ? undefined : records.get(uri)
  // A tombstone of a lost record is the incident itself: it explains nothing.
  if (record === undefined) {
    if (uri !== undefined && states.get(uri)?.deleted === true)
      return { class: 'explained', policy: 'withdrawn', reason: 'its record was deleted by its author' }
    if (said?.outcome === 'withdrawn') return { class: 'explained', policy: 'withdrawn', ...reasonOf(said) }
  }
  const refused = uri === undefined ? undefined : refusals.get(uri)
  const reasons = [
    ...(refused === undefined ? [] : [`its record is ${refusalText(refused)}`]),
    ...(said === undefined || (refused !== undefined && said.outcome === 'withdrawn')
      ? []
      : [`reconcile said ${said.outcome}${said.reason ? `: ${said.reason}` : ''}`]),
  ]
  return { class: 'missing', ...(reasons.length > 0 && { reason: reasons.join('; ') }) }
}

function comparePresent(
  table: SnapshotTable,
  backup: ExactRow,
  production: ExactRow,
  said: ReconciledRow | undefined,
  evidence: Evidence,
): Finding {
  const columns = differingColumns(table.columns, backup, production)
  const alone = restsOnBackup(table, backup, evidence)
  if (columns.length === 0) return alone ?? { class: 'equal' }
  const unexplained = columns.filter((column) => !evidence.triggerKept.has(`${table.table}.${column}`))
  if (unexplained.length === 0)
    return { class: 'explained', policy: 'trigger-kept', columns, ...(alone && { reason: alone.reason }) }
  if (said !== undefined && isKeptNewer(table, unexplained, production, said, evidence))
    return { class: 'explained', policy: 'kept-newer', columns, ...reasonOf(said) }
  return { class: 'different', columns, ...(said === undefined ? {} : reasonOf(said)) }
}

/** What is said of a row that is there without its record; undefined where the record is there. */
function restsOnBackup(
  { table }: SnapshotTable,
  row: ExactRow,
  { appview, withoutRecord, missingRecords }: Evidence,
): (Finding & { reason: string }) | undefined {
  const uri = recordUriOf(appview, table, row)
  const refused = uri === undefined ? undefined : withoutRecord.get(uri)
  if (refused === undefined) {
    if (uri === undefined || missingRecords?.has(uri) !== true) return undefined
    const reason = 'rests on the backup alone: its record is not in the repo'
    return { class: 'explained', policy: 'record-missing', reason }
  }
  return {
    class: 'explained',
    policy: refused.refusal === 'blob-missing' ? 'blob-missing' : 'record-refused',
    reason: `rests on the backup alone: its record is ${refusalText(refused)}`,
  }
}

/**
 * A reconcile keeps what was changed since the backup. It says so of rows that it leaves alone; in rows that it sets
 * back, what it did not set back holds neither what a fresh insert puts there nor what a handler writes.
 */
function isKeptNewer(
  table: SnapshotTable,
  columns: readonly string[],
  production: ExactRow,
  said: ReconciledRow,
  evidence: Evidence,
): boolean {
  const emptied = emptiedColumns(table.table, evidence)
  if (columns.some((column) => emptied.has(column) && production[column] === null)) return false
  if (said.outcome === 'kept' || said.outcome === 'filled') return true
  const derived = derivedTable(evidence.appview, table.table)
  if (derived === undefined || !(said.outcome === 'derived' || said.outcome === 'restored')) return false
  return columns.every((name) => {
    const column = evidence.catalog.table(table.table).columns.find((candidate) => candidate.name === name)
    if (column === undefined || column.generated || derived.columns.includes(name)) return false
    return !mayBeFresh(column, production[name] ?? null)
  })
}

/** Columns that the delete of a row of the snapshot empties: while they are empty, the damage is still there. */
function emptiedColumns(table: string, { catalog, snapshot, appview }: Evidence): Set<string> {
  const parents = new Set(snapshot.tables.map((candidate) => candidate.table))
  return new Set(
    edgesOf(catalog, appview)
      .filter(({ child, parent }) => child === table && parents.has(parent))
      .flatMap(({ emptied }) => emptied),
  )
}

function reasonOf(said: ReconciledRow): { reason?: string } {
  return said.reason === undefined ? {} : { reason: said.reason }
}
