import { derivedTable, recordColumn } from '../appview/derived.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import { virtualKeysOf } from '../backup/unique-keys.ts'
import { constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { readRows } from './calls.ts'
import { countableDefaults } from './columns.ts'
import type { ConsentDecisions } from './consent/decision.ts'
import { pendingMark } from './marks.ts'
import type { PlannedRow, PlannedTable } from './planned.ts'
import type { RunState } from './run.ts'
import type { SentRow } from './sent-rows.ts'

/** A row of the snapshot that is to be inserted. */
export interface MeantRow {
  id: string
  row: ExactRow
  planned: PlannedRow
  /** URI of the record of another account that it was made from. */
  foreign: string | undefined
}

/** What is the same for all rows of a table that are inserted. */
export interface TableRun {
  source: SnapshotTable
  /** What the call says of all of its rows. */
  shape: {
    table: string
    key: readonly string[]
    columns: readonly string[]
    virtualKeys: readonly (readonly string[])[]
    watch: readonly object[]
  }
  /** The column that names the record that a row is derived from, if there is one. */
  of: string | undefined
  /** What rows are inserted with in place of their own values, which are set later. */
  instead: ExactRow
}

export async function tableRun(state: RunState, planned: PlannedTable): Promise<TableRun> {
  const { options, watch } = state
  const { appview, catalog } = options
  const { table } = planned
  const source = state.source(planned)
  const own = watch.columnsOf(source)
  const columns = [...own, ...(await brokenDefaults(state, table, own))]
  const countable = countableDefaults(catalog, table)
  await watch.lookInto(table, new Set(Object.keys(countable)))
  const counted = Object.entries(countable).filter(
    ([column]) => watch.keeps(table, column) || watch.isUnknown(table, column),
  )
  const instead = {
    ...Object.fromEntries(counted),
    ...Object.fromEntries((planned.heldBack ?? []).map((column) => [column, null])),
  }
  const virtualKeys = virtualKeysOf(catalog, appview, table)
  const shape = { table, key: source.key, columns, virtualKeys, watch: watch.watchOf(table) }
  return { source, shape, of: derivedTable(appview, table)?.of, instead }
}

/**
 * Columns that the backup lacks and whose default names a row that is not there (an empty text in a foreign key):
 * they are sent as NULL, for the default would have every row refused.
 */
async function brokenDefaults(
  { options: { catalog, database } }: RunState,
  table: string,
  known: readonly string[],
): Promise<string[]> {
  const broken: string[] = []
  for (const column of catalog.table(table).columns) {
    const value = constantDefault(column)
    if (known.includes(column.name) || column.generated || !column.nullable || value == null) continue
    const key = catalog.foreignKeys.find(
      ({ child, columns }) => child === table && columns.length === 1 && columns[0] === column.name,
    )
    const [named] = key?.parentColumns ?? []
    if (key === undefined || named === undefined) continue
    const shape = { table: key.parent, key: [named], columns: [named] }
    const found = await readRows(database, shape, [{ row: { [named]: value } }])
    if (found.length === 0) broken.push(column.name)
  }
  return broken
}

/** @param inserts by id, what a plan inserts of the table */
export function* meantRows(
  { options: { appview, snapshot } }: RunState,
  { source }: TableRun,
  inserts: ReadonlyMap<string, PlannedRow>,
): Generator<MeantRow> {
  const of = recordColumn(appview, source.table)
  const own = `at://${snapshot.did}/`
  for (const row of source.rows) {
    const id = rowId(row, source.key)
    const planned = inserts.get(id)
    if (planned === undefined) continue
    const uri = of === undefined ? undefined : row[of]
    yield { id, row, planned, foreign: uri == null || uri.startsWith(own) ? undefined : uri }
  }
}

/** @param instead what the row is inserted with in place of its own values */
export function sentRow(
  { shape, of }: TableRun,
  { id, row, foreign, planned }: MeantRow,
  decisions: ConsentDecisions,
  instead: ExactRow,
): SentRow {
  const decision = foreign === undefined ? undefined : decisions.get(foreign)
  const sent: SentRow = { id, row: Object.keys(instead).length === 0 ? row : { ...row, ...instead } }
  // Of records that nothing here indexes the index has no state, and would never learn of their deletes.
  if (of !== undefined && foreign !== undefined && decision?.consent === 'same')
    sent.record = { uri: foreign, cid: decision.cid, rev: decision.rev }
  if (planned.pending) sent.pending = pendingMark(shape.table, id)
  return sent
}
