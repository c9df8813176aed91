import { derivedTable, recordColumn } from '../appview/derived.ts'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import { constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { meaningOf } from '../database/meaning.ts'
import type { DerivedTable, RowOutcome } from '../events.ts'
import { countableDefaults, missingColumns, nonDerivableColumns } from './columns.ts'
import { refusalOf } from './consent-rule.ts'
import { currentRow } from './current.ts'
import { RowsFromBackup } from './from-backup.ts'
import { includedRecords } from './included.ts'
import type { ReconcileInput } from './input.ts'
import { LostRows } from './lost-rows.ts'
import { pendingMark } from './marks.ts'
import { holdsRecord, keptOfBackup } from './merge-row.ts'
import { inOrder } from './order.ts'
import { OwnRecords } from './own-records.ts'
import { bringableParents, planParents } from './parents.ts'
import type { PlannedRow, PlannedTable, ReconcilePlan } from './planned.ts'

export type { PlannedRow, PlannedTable, ReconcilePlan } from './planned.ts'

/** The input, and what is known from it. */
interface Known {
  input: ReconcileInput
  records: OwnRecords
  lost: LostRows
  fromBackup: RowsFromBackup
}

/** A row of the snapshot, and what it is made from. */
interface Planned {
  id: string
  row: ExactRow
  table: SnapshotTable
  derived: DerivedTable | undefined
  /** The account's own record that the row is made from, if it is. */
  ownRecord: string | undefined
}

/**
 * Decides for each row of the snapshot. The rules:
 *
 * - What a replay of this account gives back is left to it; only its columns that no handler writes are set back,
 *   and only in rows that were made anew since the restore began.
 * - A row whose record could not be written back, or not yet, comes from the backup all the same, and so do own rows
 *   that wait for such a one.
 * - Where the record is a shorter form of the row, what its handler's `mergeRow` names is set back, as long as nobody
 *   has written it since.
 * - A row that is absent comes back when the incident took it, that is, when a row it hangs on by a cascade was
 *   lost. A row whose parents stood all along was deleted by someone since the backup, and stays deleted.
 * - A column that ON DELETE SET NULL emptied, because the row it named was lost, is filled while it is still empty.
 * - A row of another account's record comes back as that account consents.
 * - Everything else that differs was changed since, and is kept, unless the operator means to overwrite it.
 */
export function planReconcile(input: ReconcileInput): ReconcilePlan {
  const { snapshot, appview, catalog, includeDerived } = input
  const included = includeDerived && includedRecords(snapshot, appview, includeDerived)
  const records = new OwnRecords({ ...input, included })
  const ordered = inOrder(snapshot.tables, input)
  const heldBack = new Map(ordered.map(({ source, heldBack }) => [source.table, heldBack]))
  const lost = new LostRows(input, records, heldBack)
  const known: Known = { input, records, lost, fromBackup: rowsFromBackup(input, records) }
  const own = ordered.map(({ source, heldBack }): PlannedTable => {
    const { table } = source
    const missing = missingValues(source, input)
    const rows: PlannedRow[] = []
    for (const row of source.rows) {
      const planned = pendingOr(planRow(plannedOf(row, source, input), known), table, input)
      rows.push(
        missing !== undefined && planned.action === 'insert' ? none(planned.id, 'failed', missing) : planned,
      )
    }
    const isSwept = known.fromBackup.hasAny(table) || rows.some(({ action }) => action === 'insert')
    return {
      table,
      ...(isSwept && { sweep: true as const }),
      ...(heldBack.length > 0 && { heldBack }),
      rows,
    }
  })
  const missing = included && [...included].filter((uri) => records.whyWithout(uri) !== undefined)
  const head = { did: snapshot.did, ...(missing && { withoutRecords: missing }) }
  if (!input.withParents) return { ...head, tables: own }
  // What parents need may be among the account's own tables, and the other way round.
  const byName = new Map([...planParents(input, own), ...own].map((planned) => [planned.table, planned]))
  const parents = bringableParents(snapshot, appview).filter(({ table }) => byName.has(table))
  const all = inOrder([...parents, ...snapshot.tables], { appview, catalog })
  return {
    ...head,
    tables: all.flatMap(({ source, heldBack: held }) => {
      const planned = byName.get(source.table)
      return planned === undefined ? [] : [{ ...planned, ...(held.length > 0 && { heldBack: held }) }]
    }),
  }
}

function pendingOr(planned: PlannedRow, table: string, { marked }: ReconcileInput): PlannedRow {
  const isPending = planned.action !== 'none' && marked.has(pendingMark(table, planned.id))
  return isPending ? { ...planned, pending: true } : planned
}

/**
 * Why no row of a table can be inserted: production wants values that the backup is too old to have. Where the table
 * has triggers, one of them may fill these in: that shows when it is tried.
 */
function missingValues({ table, columns }: SnapshotTable, { catalog }: ReconcileInput): string | undefined {
  if (catalog.table(table).triggers.length > 0) return undefined
  const missing = missingColumns(
    catalog,
    table,
    columns.map(({ name }) => name),
  )
  return missing.length === 0
    ? undefined
    : `production wants a value in ${missing.join(', ')}, which the backup does not have: give the column a default, then reconcile again`
}

function plannedOf(row: ExactRow, table: SnapshotTable, { appview, snapshot }: ReconcileInput): Planned {
  const derived = derivedTable(appview, table.table)
  const uri = derived === undefined ? undefined : (row[derived.of] ?? undefined)
  const ownRecord = uri?.startsWith(`at://${snapshot.did}/`) ? uri : undefined
  return { id: rowId(row, table.key), row, table, derived, ownRecord }
}

function rowsFromBackup(input: ReconcileInput, records: OwnRecords): RowsFromBackup {
  const withoutReplay: { row: ExactRow; table: SnapshotTable }[] = []
  const parked: typeof withoutReplay = []
  for (const table of input.snapshot.tables) {
    for (const row of table.rows) {
      const { id, ownRecord } = plannedOf(row, table, input)
      if (ownRecord === undefined) continue
      const planned = { row: namesOf(row, table, input), table }
      const isAbsent = !input.current.get(table.table)?.has(id)
      if (records.whyWithout(ownRecord) !== undefined) withoutReplay.push(planned)
      if (!records.isStanding(ownRecord)) continue
      if (!input.replayed.has(table.table, id)) {
        if (isAbsent || input.marked.has(ownRecord)) withoutReplay.push(planned)
      }
      // Only the repo tells what the record stands for now: by the backup's record it may be a link long gone.
      else if (isAbsent && input.repo !== undefined) parked.push(planned)
    }
  }
  return new RowsFromBackup(input.catalog.foreignKeys, {
    withoutReplay,
    parked,
    needs({ child, columns }) {
      const derived = derivedTable(input.appview, child)
      return (
        columns.every((column) => derived?.columns.includes(column)) &&
        !columns.every((column) => derived?.nullIfMissing?.includes(column))
      )
    },
  })
}

/** What rows name one another by: bodies need not be held. */
function namesOf(row: ExactRow, { table, key }: SnapshotTable, { catalog }: ReconcileInput): ExactRow {
  const columns = catalog.foreignKeys.flatMap((foreign) => [
    ...(foreign.child === table ? foreign.columns : []),
    ...(foreign.parent === table ? foreign.parentColumns : []),
  ])
  return Object.fromEntries([...key, ...columns].map((column) => [column, row[column] ?? null]))
}

function planRow(planned: Planned, known: Known): PlannedRow {
  const { id, row, table, ownRecord } = planned
  const { input, records, lost, fromBackup } = known
  const now = currentRow(input.current, table.table, id, row)
  if (now !== undefined) return planPresent({ ...planned, now }, known)
  if (ownRecord !== undefined) {
    const why = records.whyWithout(ownRecord)
    if (why !== undefined)
      return { id, action: 'insert', outcome: 'restored', withoutRecord: true, reason: why }
    if (!records.isStanding(ownRecord)) return none(id, 'withdrawn', 'its record is not in the repo')
    if (!fromBackup.has(table.table, id))
      return none(id, 'derived', 'left to the replay, which has not brought it')
    const reason = input.replayed.has(table.table, id)
      ? 'it waits for a row that comes from the backup'
      : 'its record is there, but no replay gives this row'
    return { id, action: 'insert', outcome: 'restored', reason }
  }
  if (!lost.took(row, table))
    return none(id, 'withdrawn', 'deleted since the backup: what it hangs on was never lost')
  const of = recordColumn(input.appview, table.table)
  const foreign = of === undefined ? undefined : row[of]
  const refusal = foreign == null ? undefined : refusalOf(input.consent?.get(foreign), input.unreachable)
  if (refusal !== undefined) return none(id, refusal.outcome, refusal.reason)
  return { id, action: 'insert', outcome: 'restored' }
}

interface PresentRow extends Planned {
  now: ExactRow
}

function planPresent(present: PresentRow, known: Known): PlannedRow {
  const { id, row, now, table, derived, ownRecord } = present
  const differing = table.columns
    .filter(
      (column) =>
        !column.generated &&
        meaningOf(row[column.name] ?? null, column.type) !== meaningOf(now[column.name] ?? null, column.type),
    )
    .map((column) => column.name)
  const isOwn = ownRecord !== undefined
  const why = isOwn ? known.records.whyWithout(ownRecord) : undefined
  if (differing.length === 0)
    return why === undefined ? none(id, isOwn ? 'derived' : 'unchanged') : none(id, 'unchanged', why)

  const emptied = known.lost.emptied(row, now, table).filter((column) => differing.includes(column))
  const merged = isOwn ? mergedColumns(present, known) : new Map<string, string | null>()
  // Of these the row will hold what the backup has, so its record is the same for all that they tell.
  const awaited = awaitedColumns(present, known)
  const settled = new Set([
    ...emptied,
    ...awaited,
    ...[...merged].filter(([column, text]) => text === (row[column] ?? null)).map(([column]) => column),
  ])
  const open = differing.filter((column) => !settled.has(column))
  const columns = [...new Set([...emptied, ...merged.keys(), ...resetColumns(present, open, known)])]
  const overwritten = merged.size > 0 ? [] : overwrittenColumns(present, differing, columns, known)
  if (overwritten.length > 0) {
    const both = awaited.filter((column) => overwritten.includes(column))
    return {
      id,
      action: 'set',
      outcome: 'restored',
      columns: overwritten,
      overwrites: true,
      ...(both.length > 0 && { awaited: both }),
      reason: `changed since the backup, and overwritten: ${overwritten.join(', ')}`,
    }
  }
  if (columns.length === 0) {
    if (open.length === 0) return none(id, 'derived', 'it waits for a row that comes from the backup')
    return isWrittenOtherwise(present, known) && open.every((column) => derived?.columns.includes(column))
      ? none(id, 'derived', 'its record could not be written back as this row has it')
      : none(id, 'kept', `changed since the backup: ${differing.join(', ')}`)
  }
  if (merged.size > 0) {
    const isWhole = [...merged].every(([column, text]) => text === (row[column] ?? null))
    // Where the handler made a value up of both, the record is a newer one, and what is new in it is kept.
    return {
      id,
      action: 'set',
      outcome: isWhole ? 'restored' : 'filled',
      columns,
      merged: true,
      reason: `the record in the repo is ${isWhole ? 'the shorter form' : 'a newer, shorter form'} of this row`,
    }
  }
  if (emptied.length > 0) {
    const both = awaited.filter((column) => emptied.includes(column))
    return { id, action: 'set', outcome: 'filled', columns, ...(both.length > 0 && { awaited: both }) }
  }
  const isDerived = isOwn && derived !== undefined && why === undefined
  return { id, action: 'set', outcome: isDerived ? 'derived' : 'restored', columns }
}

/**
 * All columns that differ and that no handler writes, where they are to be overwritten and some of them would not be
 * set back anyway.
 */
function overwrittenColumns(
  { derived }: PresentRow,
  differing: readonly string[],
  setAnyway: readonly string[],
  { input }: Known,
): string[] {
  if (input.onConflict !== 'overwrite') return []
  const columns = differing.filter((column) => !derived?.columns.includes(column))
  return columns.every((column) => setAnyway.includes(column)) ? [] : [...new Set([...setAnyway, ...columns])]
}

/**
 * What `mergeRow` keeps of the backup's row, in columns that nobody has written since the replay: that still hold
 * what the record gives. Where the repo is not at hand, the row must have been made anew since the restore began.
 */
function mergedColumns({ row, now, table }: PresentRow, { input, lost }: Known): Map<string, string | null> {
  const { appview, repo } = input
  const kept = keptOfBackup(appview, table, row, now)
  if (kept.size === 0) return kept
  const isRemade = lost.isRemade(row, now, table)
  const held = repo === undefined ? undefined : holdsRecord(appview, table, now, repo)
  const isUntouched = (column: string): boolean => {
    if (held === undefined || held.size === 0) return held === undefined && isRemade
    return held.get(column) ?? isRemade
  }
  return new Map([...kept].filter(([column]) => isUntouched(column)))
}

function isWrittenOtherwise({ ownRecord }: Planned, { input }: Known): boolean {
  return ownRecord !== undefined && input.writtenOtherwise?.has(ownRecord) === true
}

/** Columns of a derived row that are empty until a row comes from the backup, and that the index fills then. */
function awaitedColumns({ row, now, table, derived }: PresentRow, { fromBackup }: Known): string[] {
  return fromBackup
    .namedBy(row, table)
    .flatMap(({ columns }) => columns)
    .filter((column) => derived?.nullIfMissing?.includes(column) && now[column] === null)
}

/**
 * Columns that no handler writes and that hold what a fresh insert put there. Only in rows that were made anew since
 * the restore began, and only while their record is the same, or what a restore wrote in its place.
 */
function resetColumns(present: PresentRow, differing: readonly string[], known: Known): string[] {
  const { row, now, derived, table } = present
  const { input, lost } = known
  const isEdited = derived?.columns.some((column) => differing.includes(column))
  if (isEdited && !isWrittenOtherwise(present, known)) return []
  const isRemade = lost.isRemade(row, now, table)
  // A row that an earlier run inserted has its old birth; that run may have been cut short before it set the rest.
  const isMarked = lost.isMarked(row, table)
  if (!isRemade && !isMarked && !lost.took(row, table)) return []
  const countable = countableDefaults(input.catalog, table.table)
  // What no record stands for can only have been made anew by a trigger, which leaves the rest to the defaults.
  const columns =
    derived === undefined
      ? input.catalog.table(table.table).columns.filter((column) => !column.generated)
      : nonDerivableColumns(input.catalog, derived)
  const untouched = columns
    .filter((column) => {
      if (!differing.includes(column.name)) return false
      // A number that the database gives by itself: the old one can be set back, unless it is always given.
      if (column.identity === 'a') return false
      const constant = column.identity === null ? constantDefault(column) : undefined
      const isHeldBack = Object.hasOwn(countable, column.name)
      if (!isRemade && !isHeldBack && !(isMarked && constant != null)) return false
      return (
        constant === undefined ||
        meaningOf(now[column.name] ?? null, column.type) === meaningOf(constant, column.type)
      )
    })
    .map((column) => column.name)
  // With anything else in it, it is no trigger's row but somebody's, and is left as they made it.
  return derived === undefined && untouched.length < differing.length ? [] : untouched
}

function none(id: string, outcome: RowOutcome, reason?: string): PlannedRow {
  return reason === undefined ? { id, action: 'none', outcome } : { id, action: 'none', outcome, reason }
}
