import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { ForeignKey } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'

interface OwnRow {
  row: ExactRow
  table: SnapshotTable
}

/**
 * Own rows that come from the backup, although they are made from records: those that no replay gives, and those whose
 * records stand and wait for one of them. The latter would come by themselves once it is there, but with a new birth
 * and without what no handler writes; so they are brought first, as they were.
 */
export class RowsFromBackup {
  readonly #foreignKeys: readonly ForeignKey[]
  readonly #rows = new Set<string>()
  readonly #tables = new Set<string>()
  /** Per foreign key, the values under which rows name one of these. */
  readonly #named = new Map<ForeignKey, Set<string>>()

  /**
   * @param withoutReplay rows that no replay gives: absent ones, and those that an earlier run has brought
   * @param parked absent rows of records that stand, and that a replay gives once what they need is there
   * @param needs whether the replay leaves such a row out while what this foreign key names is missing
   */
  constructor(
    foreignKeys: readonly ForeignKey[],
    {
      withoutReplay,
      parked,
      needs,
    }: { withoutReplay: readonly OwnRow[]; parked: readonly OwnRow[]; needs: (key: ForeignKey) => boolean },
  ) {
    this.#foreignKeys = foreignKeys
    for (const row of withoutReplay) this.#add(row)
    // Rows may wait for rows that wait.
    for (let size = 0; size < this.#rows.size; ) {
      size = this.#rows.size
      for (const row of parked) if (this.namedBy(row.row, row.table).some(needs)) this.#add(row)
    }
  }

  /** @param id see `rowId` */
  has(table: string, id: string): boolean {
    return this.#rows.has(`${table} ${id}`)
  }

  /** Whether any row of a table is among them. */
  hasAny(table: string): boolean {
    return this.#tables.has(table)
  }

  /** The foreign keys by which a row names one of these rows. */
  namedBy(row: ExactRow, { table }: Pick<SnapshotTable, 'table'>): ForeignKey[] {
    return this.#foreignKeys.filter(
      (key) => key.child === table && this.#named.get(key)?.has(valuesOf(row, key.columns)),
    )
  }

  #add({ row, table }: OwnRow): void {
    this.#tables.add(table.table)
    this.#rows.add(`${table.table} ${rowId(row, table.key)}`)
    for (const key of this.#foreignKeys) {
      if (key.parent !== table.table) continue
      const named = this.#named.get(key) ?? new Set()
      this.#named.set(key, named.add(valuesOf(row, key.parentColumns)))
    }
  }
}

function valuesOf(row: ExactRow, columns: readonly string[]): string {
  return JSON.stringify(columns.map((column) => row[column] ?? null))
}
