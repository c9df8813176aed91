import { AtUri, isAtUriString } from '@atproto/syntax'
import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import { type Catalog, constantDefault } from '../database/catalog.ts'
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
 * - A column that ON DELETE SET NULL emptied is filled while it is still empty.
 * - Everything else that differs was changed since, and is kept.
 */
export function planReconcile(input: ReconcileInput): ReconcilePlan {
  const lost = new LostRows(input)
  return {
    did: input.snapshot.did,
    tables: guardsFirst(input).map((table) => ({
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
  if (now !== undefined) return planPresent({ id, row, now, table, derived, isOwn }, input)
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

function planPresent(present: PresentRow, input: ReconcileInput): PlannedRow {
  const { id, row, now, table, derived, isOwn } = present
  const differing = table.columns
    .filter(
      (column) =>
        !column.generated &&
        meaningOf(row[column.name] ?? null, column.type) !== meaningOf(now[column.name] ?? null, column.type),
    )
    .map((column) => column.name)
  if (differing.length === 0) return none(id, isOwn ? 'derived' : 'unchanged')

  const emptied = emptiedColumns(input, table.table).filter(
    (column) => differing.includes(column) && now[column] === null,
  )
  const reset = resetColumns(present, differing, input)
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
  { row, now, derived }: PresentRow,
  differing: readonly string[],
  input: ReconcileInput,
): string[] {
  if (derived === undefined || derived.columns.some((column) => differing.includes(column))) return []
  const remade = isRemade(row, now, derived.table, input)
  // A row that an earlier run inserted has its old birth; that run may have been cut short before it set the rest.
  if (!remade && !input.marked.has(row[derived.of] ?? '')) return []
  return nonDerivableColumns(input.catalog, derived)
    .filter((column) => {
      if (!differing.includes(column.name)) return false
      const untouched = constantDefault(column)
      if (!remade && untouched == null) return false
      return (
        untouched === undefined ||
        meaningOf(now[column.name] ?? null, column.type) === meaningOf(untouched, column.type)
      )
    })
    .map((column) => column.name)
}

function isRemade(row: ExactRow, now: ExactRow, table: string, input: ReconcileInput): boolean {
  const { markedAt } = input
  if (markedAt === undefined) return false
  return input.catalog
    .birthColumns(table)
    .some((column) => isLater(now[column], row[column]) && !isLater(markedAt, now[column]))
}

function isLater(a: string | null | undefined, b: string | null | undefined): boolean {
  if (a == null || b == null) return false
  return Number(canonicalInstant(a)) > Number(canonicalInstant(b))
}

/** Columns of a table that the delete of one of the snapshot's rows sets to NULL or to their default. */
function emptiedColumns({ catalog, snapshot }: ReconcileInput, table: string): string[] {
  const names = new Set(snapshot.tables.map((candidate) => candidate.table))
  return catalog.foreignKeys
    .filter(
      (key) =>
        key.child === table &&
        names.has(key.parent) &&
        (key.onDelete === 'set null' || key.onDelete === 'set default'),
    )
    .flatMap((key) => key.columns)
}

/** Knows which rows of the snapshot the incident took: those that are absent now, or were made anew since. */
class LostRows {
  readonly #input: ReconcileInput
  /** Per foreign key, the parent keys that were lost. */
  readonly #lost = new Map<string, Set<string>>()

  constructor(input: ReconcileInput) {
    this.#input = input
  }

  /** True when a row hangs by a cascade on one that was lost. */
  took(row: ExactRow, table: SnapshotTable): boolean {
    return this.#input.catalog.foreignKeys
      .filter((key) => key.child === table.table && key.onDelete === 'cascade')
      .some((key) =>
        this.#lostParents(key).has(JSON.stringify(key.columns.map((column) => row[column] ?? null))),
      )
  }

  #lostParents(key: Catalog['foreignKeys'][number]): Set<string> {
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
    if (this.#input.catalog.birthColumns(table.table).some((column) => isLater(now[column], row[column])))
      return true
    return this.took(row, table)
  }
}

/**
 * The snapshot's tables, parents before children, and among them those first that keep side effects from firing
 * twice, as soon as their own parents are there.
 */
function guardsFirst({ snapshot, appview, catalog }: ReconcileInput): SnapshotTable[] {
  const ordered: SnapshotTable[] = []
  const waiting = snapshot.tables.filter((table) => appview.guardTables.includes(table.table))
  for (const table of snapshot.tables) {
    if (appview.guardTables.includes(table.table)) continue
    ordered.push(table)
    for (const guard of [...waiting]) {
      const parents = catalog.foreignKeys.filter((key) => key.child === guard.table).map((key) => key.parent)
      const isReady = parents.every(
        (parent) =>
          ordered.some(({ table }) => table === parent) ||
          !snapshot.tables.some(({ table }) => table === parent),
      )
      if (!isReady) continue
      ordered.push(guard)
      waiting.splice(waiting.indexOf(guard), 1)
    }
  }
  return [...ordered, ...waiting]
}

function none(id: string, outcome: RowOutcome, reason?: string): PlannedRow {
  return reason === undefined ? { id, action: 'none', outcome } : { id, action: 'none', outcome, reason }
}

function authorityOf(uri: string): string | undefined {
  return isAtUriString(uri) ? new AtUri(uri).host : undefined
}
