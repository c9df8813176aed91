import { recordColumn } from '../appview/derived.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { refusalOf } from './consent-rule.ts'
import { currentRow } from './current.ts'
import type { ReconcileInput } from './input.ts'
import type { PlannedRow, PlannedTable } from './planned.ts'

/** The tables of the snapshot's parents that a restore may bring rows of. */
export function bringableParents(
  snapshot: Snapshot,
  { untouchableTables }: Pick<ReconcileInput['appview'], 'untouchableTables'>,
): SnapshotTable[] {
  const own = new Set(snapshot.tables.map(({ table }) => table))
  return snapshot.parents.filter(({ table }) => !untouchableTables.includes(table) && !own.has(table))
}

/**
 * The parent rows that are absent and that a planned row names: straight, or by another parent row.
 *
 * @param planned what is to be inserted or set
 */
export function planParents(input: ReconcileInput, planned: readonly PlannedTable[]): PlannedTable[] {
  const { snapshot, appview, catalog, current } = input
  const parents = bringableParents(snapshot, appview)
  /** Per table and referenced columns, the values that are named. */
  const named = new Map<string, Set<string>>()
  const nameOf = (table: string, columns: readonly string[]) => `${table} ${JSON.stringify(columns)}`
  const name = (table: string, row: ExactRow): void => {
    for (const key of catalog.foreignKeys) {
      if (key.child !== table || !parents.some((parent) => parent.table === key.parent)) continue
      const values = key.columns.map((column) => row[column] ?? null)
      if (values.includes(null)) continue
      const target = nameOf(key.parent, key.parentColumns)
      named.set(target, (named.get(target) ?? new Set()).add(JSON.stringify(values)))
    }
  }
  for (const source of snapshot.tables) {
    const rows = planned.find(({ table }) => table === source.table)?.rows ?? []
    const meant = new Set(rows.filter(({ action }) => action !== 'none').map(({ id }) => id))
    if (meant.size > 0)
      for (const row of source.rows) if (meant.has(rowId(row, source.key))) name(source.table, row)
  }
  // Children before parents: a parent row that is brought names others.
  const tables = parents.toReversed().map((source): PlannedTable => {
    const targets = catalog.foreignKeys
      .filter((key) => key.parent === source.table)
      .map((key) => ({
        columns: key.parentColumns,
        values: named.get(nameOf(key.parent, key.parentColumns)),
      }))
    const rows: PlannedRow[] = []
    for (const row of source.rows) {
      const isNamed = targets.some(({ columns, values }) =>
        values?.has(JSON.stringify(columns.map((column) => row[column] ?? null))),
      )
      const id = rowId(row, source.key)
      if (!isNamed || currentRow(current, source.table, id, row) !== undefined) continue
      rows.push(plannedParent(id, row, source, input))
      name(source.table, row)
    }
    return { table: source.table, ofParents: true, rows }
  })
  return tables.toReversed().filter(({ rows }) => rows.length > 0)
}

function plannedParent(
  id: string,
  row: ExactRow,
  { table }: SnapshotTable,
  { appview, snapshot, consent, unreachable }: ReconcileInput,
): PlannedRow {
  const of = recordColumn(appview, table)
  const uri = of === undefined ? undefined : row[of]
  const isForeign = uri != null && !uri.startsWith(`at://${snapshot.did}/`)
  const refusal = isForeign ? refusalOf(consent?.get(uri), unreachable) : undefined
  if (refusal !== undefined) return { id, action: 'none', ...refusal }
  return { id, action: 'insert', outcome: 'restored', reason: 'a row that comes back needs it' }
}
