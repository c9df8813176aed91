import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ForeignKey } from '../database/catalog.ts'
import type { ReconcileInput } from './input.ts'

export interface OrderedTable {
  source: SnapshotTable
  /**
   * Columns to leave empty at first, because what they name comes later: tables that refer to one another in a circle
   * have no order otherwise.
   */
  heldBack: readonly string[]
}

/**
 * Tables, parents before children. Of those whose parents are there, first the ones that keep side effects from firing
 * twice, and last the ones with triggers: what these fill is there by then, as it was. A circle is opened at a
 * reference that may be empty.
 */
export function inOrder(
  tables: readonly SnapshotTable[],
  { appview, catalog }: Pick<ReconcileInput, 'appview' | 'catalog'>,
): OrderedTable[] {
  const placeOf = ({ table }: SnapshotTable): number =>
    appview.guardTables.includes(table) ? 0 : catalog.table(table).triggers.length === 0 ? 1 : 2
  const waiting = new Set(tables)
  const awaited = ({ table }: SnapshotTable): ForeignKey[] => {
    const names = new Set([...waiting].map((other) => other.table))
    return catalog.foreignKeys.filter(
      (key) => key.child === table && key.parent !== table && names.has(key.parent),
    )
  }
  /** The columns that, left empty, make a row name nothing by this key. */
  const openable = (key: ForeignKey): string[] => {
    const { columns } = catalog.table(key.child)
    const fixed = tables.find(({ table }) => table === key.child)?.key ?? []
    return key.columns.filter(
      (name) => !fixed.includes(name) && columns.some((column) => column.name === name && column.nullable),
    )
  }
  const leadsTo = (from: string, to: string): boolean => {
    const met = new Set([from])
    for (const name of met) {
      const table = tables.find((candidate) => candidate.table === name)
      for (const { parent } of table === undefined ? [] : awaited(table)) met.add(parent)
    }
    return met.has(to)
  }
  const opensCircle = (table: SnapshotTable): boolean =>
    awaited(table).every((key) => openable(key).length > 0 && leadsTo(key.parent, table.table))
  const ordered: OrderedTable[] = []
  while (waiting.size > 0) {
    const ready = [...waiting]
      .filter((table) => awaited(table).length === 0)
      .sort((a, b) => placeOf(a) - placeOf(b))
    // In a circle of references that all must be there the snapshot's own order decides.
    const next = ready[0] ?? [...waiting].find(opensCircle) ?? [...waiting][0]
    if (next === undefined) break
    ordered.push({ source: next, heldBack: [...new Set(awaited(next).flatMap(openable))] })
    waiting.delete(next)
  }
  return ordered
}
