import { derivedTable } from '../appview/derived.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import { virtualKeysOf } from '../backup/unique-keys.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import type { AppView } from '../events.ts'
import { inBatches, overlapped, sizeOf } from './batches.ts'
import { type Foreseen, foresee } from './calls.ts'
import type { PlannedRow, PlannedTable, ReconcilePlan } from './planned.ts'

/** Each holds a connection of the database's pool. */
const READS_AT_ONCE = 3

interface Parts {
  database: Database
  catalog: Catalog
  appview: AppView
  sourceOf: (planned: PlannedTable) => SnapshotTable
}

/**
 * Holds the inserts of a plan against the database: those whose place another row holds, or whose parent is missing
 * and does not come with this plan, are said to be so and not tried. Keys that the catalog cannot name (of
 * expressions, of a part of a table) and parents that this plan brings are decided when it is applied.
 */
export async function withForeseen(plan: ReconcilePlan, parts: Parts): Promise<ReconcilePlan> {
  const tables: PlannedTable[] = []
  for (const planned of plan.tables) tables.push(await foreseenTable(planned, plan, parts))
  return { ...plan, tables }
}

async function foreseenTable(
  planned: PlannedTable,
  plan: ReconcilePlan,
  { database, catalog, appview, sourceOf }: Parts,
): Promise<PlannedTable> {
  const inserts = new Map(
    planned.rows.flatMap((row) => (row.action === 'insert' ? [[row.id, row] as const] : [])),
  )
  if (inserts.size === 0) return planned
  const source = sourceOf(planned)
  const later = plan.tables.filter(({ rows }) => rows.some(isInsert)).map(({ table }) => table)
  const columns = decidingColumns(source, { catalog, appview, later })
  if (columns === undefined) return planned
  const virtualKeys = virtualKeysOf(catalog, appview, planned.table)
  const shape = { table: planned.table, key: source.key, columns, virtualKeys, later }
  const verdicts = new Map<string, Foreseen>()
  await overlapped(
    inBatches(meantRows(source, inserts, columns), ({ row }) => sizeOf(row)),
    READS_AT_ONCE,
    (batch) => foresee(database, shape, batch),
    (found) => {
      for (const verdict of found) verdicts.set(verdict.id, verdict)
    },
  )
  return { ...planned, rows: planned.rows.map((row) => foreseenRow(row, verdicts.get(row.id))) }
}

function isInsert({ action }: PlannedRow): boolean {
  return action === 'insert'
}

function foreseenRow(row: PlannedRow, verdict: Foreseen | undefined): PlannedRow {
  if (row.action !== 'insert' || (verdict?.outcome !== 'blocked' && verdict?.outcome !== 'conflict'))
    return row
  const { id, outcome, detail } = verdict
  return { id, action: 'none', outcome, ...(detail !== undefined && { reason: detail }) }
}

function* meantRows(
  source: SnapshotTable,
  inserts: ReadonlyMap<string, PlannedRow>,
  columns: readonly string[],
): Generator<{ id: string; row: ExactRow }> {
  for (const row of source.rows) {
    const id = rowId(row, source.key)
    if (inserts.has(id))
      yield { id, row: Object.fromEntries(columns.map((column) => [column, row[column] ?? null])) }
  }
}

/** What must be known of a row to decide; undefined where nothing can be seen from outside. */
function decidingColumns(
  source: SnapshotTable,
  { catalog, appview, later }: { catalog: Catalog; appview: AppView; later: readonly string[] },
): string[] | undefined {
  const known = new Set(source.columns.map(({ name }) => name))
  const writable = new Set(catalog.writableColumns(source.table))
  const of = derivedTable(appview, source.table)?.of
  const lists = [
    ...(of === undefined ? [] : [[of]]),
    ...catalog.table(source.table).uniqueKeys.filter((key) => key.join() !== source.key.join()),
    ...virtualKeysOf(catalog, appview, source.table),
    ...catalog.foreignKeys
      .filter((key) => key.child === source.table && !later.includes(key.parent))
      .map(({ columns }) => columns),
  ]
  if (lists.length === 0) return undefined
  return [...new Set([...source.key, ...lists.flat()])].filter(
    (column) => known.has(column) && writable.has(column),
  )
}
