import { derivedTable } from '../appview/derived.ts'
import { type Edge, edgesOf, referenceOf } from '../backup/edges.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import { constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant, meaningOf } from '../database/meaning.ts'
import { currentRow } from './current.ts'
import type { ReconcileInput } from './input.ts'
import { isPendingMark, pendingMark } from './marks.ts'
import type { OwnRecords } from './own-records.ts'

/**
 * Knows which rows of the snapshot the incident took: those that are absent now, those made anew since, and those
 * that only an earlier run of ours can have brought, with their old birth.
 */
export class LostRows {
  readonly #input: ReconcileInput
  readonly #records: OwnRecords
  /** Foreign keys, and references that only the description knows: what hangs by either goes with its parent. */
  readonly #edges: readonly Edge[]
  /** Per reference, the parent keys that were lost. */
  readonly #lost = new Map<Edge, Set<string>>()
  readonly #edgesOfTable = new Map<string, readonly Edge[]>()
  readonly #heldBack: ReadonlyMap<string, readonly string[]>
  readonly #arePending: boolean

  /** @param heldBack by table, columns that an insert leaves empty at first: an earlier run may have been cut short */
  constructor(
    input: ReconcileInput,
    records: OwnRecords,
    heldBack: ReadonlyMap<string, readonly string[]> = new Map(),
  ) {
    this.#input = input
    this.#records = records
    this.#heldBack = heldBack
    this.#edges = edgesOf(input.catalog, input.appview)
    this.#arePending = input.marked.values().some(isPendingMark)
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
    return (
      this.#isPending(row, table) || this.#keysToLost(row, table).some((key) => key.onDelete === 'cascade')
    )
  }

  /**
   * Columns of a row that were set to NULL, or to their default, when the row that they named was lost, and that are so
   * still. Where another column of the same reference is not as it was, somebody has been at it since.
   */
  emptied(row: ExactRow, now: ExactRow, table: SnapshotTable): string[] {
    const types = new Map(table.columns.map(({ name, type }) => [name, type]))
    const holds = (column: string, value: string | null | undefined): boolean =>
      value !== undefined &&
      meaningOf(now[column] ?? null, types.get(column) ?? 'text') ===
        meaningOf(value, types.get(column) ?? 'text')
    return this.#keysToLost(row, table).flatMap((key) => {
      const differing = key.columns.filter((column) => !holds(column, row[column] ?? null))
      const isEmptied = (column: string) =>
        this.#emptyValues(key, column).some((value) => holds(column, value))
      return differing.every(isEmptied) ? differing : []
    })
  }

  /** What a column holds once the row that it named is gone; nothing where the delete leaves it alone. */
  #emptyValues(key: Edge, column: string): (string | null)[] {
    const values: (string | null)[] = []
    if (this.#heldBack.get(key.child)?.includes(column)) values.push(null)
    if (!key.emptied.includes(column)) return values
    if (key.onDelete === 'set null') values.push(null)
    if (key.onDelete === 'set default') {
      const definition = this.#input.catalog.table(key.child).columns.find(({ name }) => name === column)
      const constant = definition === undefined ? undefined : constantDefault(definition)
      if (constant !== undefined) values.push(constant)
    }
    return values
  }

  /** An earlier run could not bring the row, or not fill it. */
  #isPending(row: ExactRow, { table, key }: SnapshotTable): boolean {
    // Most runs leave no such mark, and most snapshots have many rows.
    return this.#arePending && this.#input.marked.has(pendingMark(table, rowId(row, key)))
  }

  #keysToLost(row: ExactRow, table: SnapshotTable): readonly Edge[] {
    const ofTable = this.#edgesFrom(table.table)
    if (this.#isPending(row, table)) return ofTable
    return ofTable.filter((key) => {
      const lost = this.#lostParents(key)
      const named = lost.size > 0 ? referenceOf(row, key) : undefined
      return named !== undefined && lost.has(JSON.stringify(named))
    })
  }

  #edgesFrom(table: string): readonly Edge[] {
    const known = this.#edgesOfTable.get(table)
    if (known !== undefined) return known
    const found = this.#edges.filter(({ child }) => child === table)
    this.#edgesOfTable.set(table, found)
    return found
  }

  #lostParents(key: Edge): Set<string> {
    const known = this.#lost.get(key)
    if (known !== undefined) return known
    const lost = new Set<string>()
    this.#lost.set(key, lost)
    const parent = this.#input.snapshot.tables.find((table) => table.table === key.parent)
    // Where rows hang on rows of their own table, one may be lost with another that comes later.
    for (let size = -1; size < lost.size && parent !== undefined; ) {
      size = lost.size
      for (const row of parent.rows) {
        if (this.#wasLost(row, parent))
          lost.add(JSON.stringify(key.parentColumns.map((column) => row[column] ?? null)))
      }
      if (key.child !== key.parent) break
    }
    return lost
  }

  #wasLost(row: ExactRow, table: SnapshotTable): boolean {
    const now = currentRow(this.#input.current, table.table, rowId(row, table.key), row)
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
