import { type ApplyOptions, applyReconcile, type ReconcileResult } from '../reconcile/apply.ts'
import type { ReconcilePlan } from '../reconcile/plan.ts'
import {
  type PreparedReconcile,
  type PrepareReconcileOptions,
  prepareReconcile,
} from '../reconcile/reconcile.ts'

export interface ReconcileRowsOptions {
  /** The plan to begin with. @defaultValue one made now */
  prepared?: PreparedReconcile | undefined
  onProgress?: (done: number, total: number) => void
}

/** What is reconciled, and who is asked again while it is. */
export type ReconcileParts = PrepareReconcileOptions & Pick<ApplyOptions, 'consentAgain'>

/** One look is enough unless live ingestion overtakes; what it brings once it can bring only once. */
const MAX_LOOKS = 3

/**
 * Reconciles, and looks again where live ingestion was quicker: a row that comes from the backup lets in what waits
 * for it, and the consumer may make those rows anew, without what no handler writes, before ours are inserted. Such
 * a row is there then, and a new plan sets it back.
 *
 * @returns the first plan, and what became of each row in the end
 */
export async function reconcileRows(
  parts: ReconcileParts,
  { prepared, onProgress }: ReconcileRowsOptions = {},
): Promise<{ plan: ReconcilePlan; result: ReconcileResult }> {
  const apply = ({ plan, current }: PreparedReconcile) =>
    applyReconcile({ ...parts, plan, current, ...(onProgress && { onProgress }) })
  const prepare = () => prepareReconcile({ ...parts, foresee: false })
  let now = prepared ?? (await prepare())
  const { plan } = now
  let result = await apply(now)
  for (let looks = 1; looks < MAX_LOOKS; looks++) {
    const rows = overtaken(now.plan, result)
    if (rows.size === 0) break
    now = await prepare()
    result = merged(result, await apply(now), new Set([...rows, ...actedOn(now.plan)]))
  }
  return { plan, result }
}

/** Rows that were to be inserted and that somebody else has made meanwhile, other than they were. */
function overtaken(plan: ReconcilePlan, result: ReconcileResult): Set<string> {
  const kept = new Set(
    result.tables.flatMap(({ table, rows }) =>
      rows.filter(({ outcome }) => outcome === 'kept').map((row) => keyOf(table, row)),
    ),
  )
  if (kept.size === 0) return kept
  const inserts = actedOn(plan, ({ action }) => action === 'insert')
  return new Set(inserts.filter((row) => kept.has(row)))
}

function actedOn(
  { tables }: ReconcilePlan,
  isMeant = ({ action }: ReconcilePlan['tables'][number]['rows'][number]) => action !== 'none',
): string[] {
  return tables.flatMap(({ table, rows }) => rows.filter(isMeant).map((row) => keyOf(table, row)))
}

function merged(
  first: ReconcileResult,
  second: ReconcileResult,
  again: ReadonlySet<string>,
): ReconcileResult {
  const later = new Map(
    second.tables.flatMap(({ table, rows }) => rows.map((row) => [keyOf(table, row), row] as const)),
  )
  const triggerKept = new Map(
    [...first.triggerKept, ...second.triggerKept].map((kept) => [`${kept.table}.${kept.column}`, kept]),
  )
  return {
    tables: first.tables.map(({ rows, ...table }) => ({
      ...table,
      rows: rows.map((row) => {
        const key = keyOf(table.table, row)
        return (again.has(key) ? later.get(key) : undefined) ?? row
      }),
    })),
    triggerKept: [...triggerKept.values()],
    overwritten: [...(first.overwritten ?? []), ...(second.overwritten ?? [])],
    stuckSequences: [...new Set([...(first.stuckSequences ?? []), ...(second.stuckSequences ?? [])])],
  }
}

function keyOf(table: string, { id }: { id: string }): string {
  return `${table} ${id}`
}
