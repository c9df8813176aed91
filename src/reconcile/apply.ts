import { setMarks } from '../database/marks.ts'
import { retrying } from '../database/retry.ts'
import type { RowOutcome } from '../events.ts'
import { setAbsent, sweep } from './calls.ts'
import type { CurrentRows } from './current.ts'
import { RowInserter } from './insert-rows.ts'
import { marksOf, NOT_WRITTEN, pendingMark } from './marks.ts'
import { type PlannedRow, type PlannedTable, plannedSource, type ReconcilePlan } from './planned.ts'
import {
  type ApplyOptions,
  Outcomes,
  type OverwrittenRow,
  pick,
  type ReconcileResult,
  type RunState,
  type SetEntry,
  withoutAction,
} from './run.ts'
import { RowSetter } from './set-rows.ts'
import { TriggerWatch } from './trigger-watch.ts'

export type { ApplyOptions, OverwrittenRow, ReconciledRow, ReconcileResult } from './run.ts'

/**
 * Does what a plan says. The database decides again for each row in the transaction that writes it. All rows are
 * inserted before any column is set back, so that a run cut short never looks as if nothing had been lost.
 *
 * @throws UnavailableError when the database stays away; what is done stays done, and a new plan takes it up
 */
export async function applyReconcile(options: ApplyOptions): Promise<ReconcileResult> {
  const { plan, database, snapshot, current, catalog } = options
  const outcomes = new Outcomes()
  const source = (planned: Pick<PlannedTable, 'table' | 'ofParents'>) => plannedSource(snapshot, planned)
  const isThere = (table: string, id: string): boolean => {
    const outcome = outcomes.get(table, id)?.outcome
    if (outcome !== undefined) return outcome === 'restored' || outcome === 'unchanged' || outcome === 'kept'
    return current.get(table)?.has(id) ?? false
  }
  const tables = plan.tables.map(source)
  const state: RunState = {
    options,
    outcomes,
    source,
    watch: new TriggerWatch({ database, catalog, tables, isThere }),
    report: progressOf(options),
  }
  const inserter = new RowInserter(state)
  const setter = new RowSetter(state)
  const marks = marksOf(options)
  await retrying(() => setMarks(database, marks))
  const { absentAtRev } = plan
  if (absentAtRev !== undefined)
    await setAbsent(
      database,
      marks.map(({ uri }) => uri),
      absentAtRev,
    )
  for (const planned of plan.tables) {
    await inserter.insert(planned)
    // What a trigger has made in the meantime is in nobody's use yet.
    await setter.set(planned, inserter.later.takeMade(planned.table))
  }
  // Rows of other accounts that arrived while a row they hang on was gone wait for it. Those that the replay did not
  // bring were inserted here, so what waits for them is let in now: after the backup's own rows, which keep their old
  // values that way.
  const swept = plan.tables.filter((planned) => planned.sweep).map(({ table }) => table)
  if (swept.length > 0) await sweep(database, swept)
  await markPending(state, plan.tables)
  // Children first: as long as the roots have their new birth, a run cut short still knows that they were lost.
  for (const planned of plan.tables.toReversed()) {
    await setter.set(planned, plannedSets(planned, current))
    await setter.set(planned, inserter.later.takeDeferred(planned.table))
    await markPending(state, [planned])
  }
  return {
    tables: plan.tables.map(({ table, rows, ofParents }) => ({
      table,
      ...(ofParents && { ofParents }),
      rows: rows.map((row) => outcomes.get(table, row.id) ?? withoutAction(row)),
    })),
    triggerKept: state.watch.kept(),
    overwritten: setter.overwritten,
    stuckSequences: [...inserter.stuckSequences],
  }
}

/**
 * What a plan would overwrite, with what is there now: to be saved before it is applied.
 *
 * @param prepared what `prepareReconcile` gave
 */
export function overwrittenBy({
  plan,
  current,
}: {
  plan: ReconcilePlan
  current: CurrentRows
}): OverwrittenRow[] {
  return plan.tables.flatMap(({ table, rows }) =>
    rows.flatMap(({ id, overwrites, columns = [] }) => {
      const now = current.get(table)?.get(id)
      if (!overwrites || now === undefined) return []
      return [{ table, id, columns, old: pick(now, columns) }]
    }),
  )
}

/** Outcomes that a later run may better: the parent has come by then, or what holds the key has gone. */
const PENDING: ReadonlySet<RowOutcome> = new Set(['blocked', 'conflict', 'failed'])

/** Remembers what was lost and has not come, before what it hangs on looks as if it had never been lost. */
async function markPending({ options, outcomes }: RunState, tables: readonly PlannedTable[]): Promise<void> {
  const { database, snapshot } = options
  const marks = tables.flatMap(({ table, ofParents, rows }) =>
    rows
      .filter(({ id, outcome }) => !ofParents && PENDING.has(outcomes.get(table, id)?.outcome ?? outcome))
      .map(({ id }) => ({
        uri: pendingMark(table, id),
        cid: NOT_WRITTEN,
        did: snapshot.did,
        run: 'reconcile',
      })),
  )
  await retrying(() => setMarks(database, marks))
}

function plannedSets({ table, rows }: PlannedTable, current: CurrentRows): SetEntry[] {
  return rows
    .filter(({ action }) => action === 'set')
    .flatMap(withAwaitedApart)
    .map((planned) => ({ planned, seen: current.get(table)?.get(planned.id) ?? {} }))
}

/** What the index has filled by now must not look like a change to the row's other columns. */
function withAwaitedApart(planned: PlannedRow): PlannedRow[] {
  const { awaited, columns = [], ...row } = planned
  if (awaited === undefined) return [planned]
  const others = columns.filter((column) => !awaited.includes(column))
  return [{ ...row, columns: awaited }, ...(others.length > 0 ? [{ ...row, columns: others }] : [])]
}

function progressOf({ plan, onProgress }: ApplyOptions): (count: number) => void {
  const total = plan.tables.reduce(
    (sum, { rows }) => sum + rows.filter((row) => row.action !== 'none').length,
    0,
  )
  let done = 0
  return (count) => {
    done += count
    onProgress?.(done, total)
  }
}
