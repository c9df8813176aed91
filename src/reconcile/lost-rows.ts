import { derivedTable } from '../appview/derived.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { ForeignKey } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant } from '../database/meaning.ts'
import type { ReconcileInput } from './input.ts'
import type { OwnRecords } from './own-records.ts'

/**
 * Knows which rows of the snapshot the incident took: those that are absent now, those made anew since, and those
 * that only an earlier run of ours can have brought, with their old birth.
 */
export class LostRows {
  readonly #input: ReconcileInput
  readonly #records: OwnRecords
  /** Per foreign key, the parent keys that were lost. */
  readonly #lost = new Map<string, Set<string>>()

  constructor(input: ReconcileInput, records: OwnRecords) {
    this.#input = input
    this.#records = records
  }

  /**
   * True where production's row was made anew since the restore began: by the replay, or by a trigger when the row it
   * hangs on came back.
   */
  isRemade(row: ExactRow, now: ExactRow, table: SnapshotTable): boolean {
    const { markedAt, catalog } = this.#input
    if (markedAt === undefined) return false
    const births = catalog.birthColumns(table.table)
    // A row that shows no age was made anew when its record was lost, or what it hangs on was.
    if (births.length === 0) return this.isMarked(row, table) || this.took(row, table)
    return births.some((column) => isLater(now[column], row[column]) && !isLater(markedAt, now[column]))
  }

  /** True when a row hangs by a cascade on one that was lost. */
  took(row: ExactRow, table: SnapshotTable): boolean {
    return this.#keysToLost(row, table).some((key) => key.onDelete === 'cascade')
  }

  /** Columns of a row that were set to NULL when the row that they named was lost. */
  emptied(row: ExactRow, table: SnapshotTable): string[] {
    return this.#keysToLost(row, table)
      .filter((key) => key.onDelete === 'set null')
      .flatMap((key) => key.columns)
  }

  #keysToLost(row: ExactRow, table: SnapshotTable): ForeignKey[] {
    return this.#input.catalog.foreignKeys.filter(
      (key) =>
        key.child === table.table &&
        this.#lostParents(key).has(JSON.stringify(key.columns.map((column) => row[column] ?? null))),
    )
  }

  #lostParents(key: ForeignKey): Set<string> {
    const known = this.#lost.get(key.name + key.child)
    if (known !== undefined) return known
    const lost = new Set<string>()
    this.#lost.set(key.name + key.child, lost)
    const parent = this.#input.snapshot.tables.find((table) => table.table === key.parent)
    for (const row of parent?.rows ?? []) {
      if (parent !== undefined && this.#wasLost(row, parent)) {
        lost.add(JSON.stringify(key.parentColumns.map((column) => row[column] ?? null)))
      }
    }
    return lost
  }

  #wasLost(row: ExactRow, table: SnapshotTable): boolean {
    const now = this.#input.current.get(table.table)?.get(rowId(row, table.key))
    if (now === undefined) return true
    const births = this.#input.catalog.birthColumns(table.table)
    if (births.some((column) => isLater(now[column], row[column]))) return true
    if (births.length === 0 && this.isMarked(row, table)) return true
    return this.#wasInserted(row, table) || this.took(row, table)
  }

  /** True when a row's record was marked by a restore, which means that it was lost. */
  isMarked(row: ExactRow, { table }: SnapshotTable): boolean {
    const derived = derivedTable(this.#input.appview, table)
    return derived !== undefined && this.#input.marked.has(row[derived.of] ?? '')
  }

  /** A marked record's row that no replay gives: where it is there, an earlier run of a reconcile inserted it. */
  #wasInserted(row: ExactRow, table: SnapshotTable): boolean {
    const { appview, marked, replayed } = this.#input
    const derived = derivedTable(appview, table.table)
    const uri = derived === undefined ? undefined : row[derived.of]
    if (uri == null || !marked.has(uri)) return false
    return this.#records.whyWithout(uri) !== undefined || !replayed.has(table.table, rowId(row, table.key))
  }
}

function isLater(a: string | null | undefined, b: string | null | undefined): boolean {
  if (a == null || b == null) return false
  return Number(canonicalInstant(a)) > Number(canonicalInstant(b))
}
