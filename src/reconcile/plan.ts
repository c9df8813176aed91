import { AtUri, isAtUriString } from '@atproto/syntax'
import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import { type Catalog, constantDefault, type ForeignKey } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant, meaningOf } from '../database/meaning.ts'
import type { RecordState } from '../database/record-state.ts'
import type { AppView, DerivedTable, RowOutcome } from '../events.ts'
import { nonDerivableColumns } from './columns.ts'
import type { ReplayedRows } from './replayed-rows.ts'

/** What is to become of one row of the snapshot. */
export interface PlannedRow {
  /** See `rowId`. */
  id: string
  action: 'insert' | 'set' | 'none'
  /** The outcome when the action goes through, or when there is none. */
  outcome: RowOutcome
  /** Columns to set back, for `set`. */
  columns?: readonly string[]
  reason?: string
}

export interface PlannedTable {
  table: string
  rows: PlannedRow[]
}

/** What a reconcile would do, parents before children: names and actions, no bodies. */
export interface ReconcilePlan {
  did: string
  tables: PlannedTable[]
}

export interface ReconcileInput {
  snapshot: Snapshot
  appview: AppView
  /** Of production. */
  catalog: Catalog
  /** By table and row id, the rows of the snapshot's keys that production has now. */
  current: ReadonlyMap<string, ReadonlyMap<string, ExactRow>>
  /** What the index knows of the account's own records. */
  states: ReadonlyMap<string, RecordState>
  /** The rows that the account's records stand for, as its handlers say. */
  replayed: ReplayedRows
  /** When the account's records were first marked for a restore, as the database prints it. */
  markedAt: string | undefined
  /** URIs of the records that were marked. */
  marked: ReadonlySet<string>
}

/**
 * Decides for each row of the snapshot. Four rules:
 *
 * - What a replay of this account gives back is left to it; only its columns that no handler writes are set back,
 *   and only in rows that were made anew since the restore began.
 * - A row that is absent comes back when the incident took it, that is, when a row it hangs on by a cascade was
 *   lost. A row whose parents stood all along was deleted by someone since the backup, and stays deleted.
 * - A column that ON DELETE SET NULL emptied, because the row it named was lost, is filled while it is still empty.
 * - Everything else that differs was changed since, and is kept.
 */
export function planReconcile(input: ReconcileInput): ReconcilePlan {
  const lost = new LostRows(input)
  return {
    did: input.snapshot.did,
    tables: inOrder(input).map((table) => ({
      table: table.table,
      rows: table.rows.map((row) => planRow(row, table, input, lost)),
    })),
  }
}

function planRow(row: ExactRow, table: SnapshotTable, input: ReconcileInput, lost: LostRows): PlannedRow {
  const id = rowId(row, table.key)
  const derived = derivedTable(input.appview, table.table)
  const recordUri = derived === undefined ? null : (row[derived.of] ?? null)
  const isOwn = recordUri !== null && authorityOf(recordUri) === input.snapshot.did
  const now = input.current.get(table.table)?.get(id)
  if (now !== undefined) return planPresent({ id, row, now, table, derived, isOwn }, input, lost)
  if (isOwn && derived !== undefined) {
    const state = input.states.get(recordUri)
    if (state === undefined || state.deleted) {
      return none(id, 'withdrawn', 'its record is not in the repo')
    }
    if (input.replayed.has(table.table, id))
      return none(id, 'derived', 'left to the replay, which has not brought it')
    return {
      id,
      action: 'insert',
      outcome: 'restored',
      reason: 'its record is there, but no replay gives this row',
    }
  }
  if (!lost.took(row, table))
    return none(id, 'withdrawn', 'deleted since the backup: what it hangs on was never lost')
  return { id, action: 'insert', outcome: 'restored' }
}

interface PresentRow {
  id: string
  row: ExactRow
  now: ExactRow
  table: SnapshotTable
  derived: DerivedTable | undefined
  isOwn: boolean
}

function planPresent(present: PresentRow, input: ReconcileInput, lost: LostRows): PlannedRow {
  const { id, row, now, table, derived, isOwn } = present
  const differing = table.columns
    .filter(
      (column) =>
        !column.generated &&
        meaningOf(row[column.name] ?? null, column.type) !== meaningOf(now[column.name] ?? null, column.type),
    )
    .map((column) => column.name)
  if (differing.length === 0) return none(id, isOwn ? 'derived' : 'unchanged')

  const emptied = lost
    .emptied(row, table)
    .filter((column) => differing.includes(column) && now[column] === null)
  const reset = resetColumns(present, differing, input, lost)
  const columns = [...new Set([...emptied, ...reset])]
  if (columns.length === 0) return none(id, 'kept', `changed since the backup: ${differing.join(', ')}`)
  if (emptied.length > 0) return { id, action: 'set', outcome: 'filled', columns }
  return { id, action: 'set', outcome: isOwn && derived !== undefined ? 'derived' : 'restored', columns }
}

/**
 * Columns that no handler writes and that hold what a fresh insert put there. Only in rows that were made anew since
 * the restore began, and only while their record is the same.
 */
function resetColumns(
  { row, now, derived, table }: PresentRow,
  differing: readonly string[],
  input: ReconcileInput,
  lost: LostRows,
): string[] {
  if (derived?.columns.some((column) => differing.includes(column))) return []
  const remade = isRemade(row, now, table, input, lost)
  // A row that an earlier run inserted has its old birth; that run may have been cut short before it set the rest.
  if (!remade && (derived === undefined || !input.marked.has(row[derived.of] ?? ''))) return []
  // What no record stands for can only have been made anew by a trigger, which leaves the rest to the defaults.
  const columns =
    derived === undefined
      ? input.catalog.table(table.table).columns.filter((column) => !column.generated)
      : nonDerivableColumns(input.catalog, derived)
  const untouched = columns
    .filter((column) => {
      if (!differing.includes(column.name)) return false
      const constant = constantDefault(column)
      if (!remade && constant == null) return false
      return (
        constant === undefined ||
        meaningOf(now[column.name] ?? null, column.type) === meaningOf(constant, column.type)
      )
    })
    .map((column) => column.name)
  // With anything else in it, it is no trigger's row but somebody's, and is left as they made it.
  return derived === undefined && untouched.length < differing.length ? [] : untouched
}

function isRemade(
  row: ExactRow,
  now: ExactRow,
  table: SnapshotTable,
  { markedAt, catalog }: ReconcileInput,
  lost: LostRows,
): boolean {
  if (markedAt === undefined) return false
  const births = catalog.birthColumns(table.table)
  // A row that shows no age was made anew when its record was lost, or what it hangs on was.
  if (births.length === 0) return lost.isMarked(row, table) || lost.took(row, table)
  return births.some((column) => isLater(now[column], row[column]) && !isLater(markedAt, now[column]))
}

function isLater(a: string | null | undefined, b: string | null | undefined): boolean {
  if (a == null || b == null) return false
  return Number(canonicalInstant(a)) > Number(canonicalInstant(b))
}

/**
 * Knows which rows of the snapshot the incident took: those that are absent now, those made anew since, and those
 * that only an earlier run of ours can have brought, with their old birth.
 */
class LostRows {
  readonly #input: ReconcileInput
  /** Per foreign key, the parent keys that were lost. */
  readonly #lost = new Map<string, Set<string>>()

  constructor(input: ReconcileInput) {
    this.#input = input
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

  /** True when a row's record was marked for a restore, which means that it was lost. */
  isMarked(row: ExactRow, { table }: SnapshotTable): boolean {
    const derived = derivedTable(this.#input.appview, table)
    return derived !== undefined && this.#input.marked.has(row[derived.of] ?? '')
  }

  /** A marked record's row that no replay gives: where it is there, an earlier run of a reconcile inserted it. */
  #wasInserted(row: ExactRow, table: SnapshotTable): boolean {
    const { appview, marked, replayed } = this.#input
    const derived = derivedTable(appview, table.table)
    if (derived === undefined || !marked.has(row[derived.of] ?? '')) return false
    return !replayed.has(table.table, rowId(row, table.key))
  }
}

/**
 * The snapshot's tables, parents before children. Of those whose parents are there, first the ones that keep side
 * effects from firing twice, and last the ones with triggers: what these fill is there by then, as it was.
 */
function inOrder({ snapshot, appview, catalog }: ReconcileInput): SnapshotTable[] {
  const placeOf = ({ table }: SnapshotTable): number =>
    appview.guardTables.includes(table) ? 0 : catalog.table(table).triggers.length === 0 ? 1 : 2
  const waiting = new Set(snapshot.tables)
  const isReady = ({ table }: SnapshotTable): boolean => {
    const names = new Set([...waiting].map((other) => other.table))
    return catalog.foreignKeys.every(
      (key) => key.child !== table || key.parent === table || !names.has(key.parent),
    )
  }
  const ordered: SnapshotTable[] = []
  while (waiting.size > 0) {
    const ready = [...waiting].filter(isReady).sort((a, b) => placeOf(a) - placeOf(b))
    // In a cycle none is: the snapshot's own order decides.
    const next = ready[0] ?? [...waiting][0]
    if (next === undefined) break
    ordered.push(next)
    waiting.delete(next)
  }
  return ordered
}

function none(id: string, outcome: RowOutcome, reason?: string): PlannedRow {
  return reason === undefined ? { id, action: 'none', outcome } : { id, action: 'none', outcome, reason }
}

function authorityOf(uri: string): string | undefined {
  return isAtUriString(uri) ? new AtUri(uri).host : undefined
}
