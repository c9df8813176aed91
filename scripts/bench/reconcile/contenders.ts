import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { tableOf } from '../../../src/backup/snapshot.ts'
import { prepareReconcile } from '../../../src/reconcile/reconcile.ts'
import { reconcileRows } from '../../../src/restore/reconcile-rows.ts'
import { elapsedMs } from '../rounds.ts'
import type { RemoteStack } from '../stack-process.ts'
import { type ReconcileInput, TABLE } from './input.ts'

/** The restoration plan's own means: one upsert for each row. Milliseconds for the first `count` rows. */
export async function upsertLoop({ database, snapshot }: ReconcileInput, count: number): Promise<number> {
  const rows = [...(tableOf(snapshot, TABLE)?.rows ?? [])].slice(0, count).map((row) => ({
    ...row,
    record: JSON.parse(row.record ?? 'null'),
  }))
  return elapsedMs(async () => {
    for (const row of rows) {
      const { error } = await database.client.from(TABLE).upsert(row)
      if (error !== null) throw new Error(error.message)
    }
  })
}

/**
 * Planned from what is there, applied, and an outcome for every row; nobody is asked whether the records still exist.
 *
 * @param isPlanShown as where somebody is shown the plan first: then the database is asked what would be in the way
 */
export async function reconciled(input: ReconcileInput, isPlanShown = false): Promise<number> {
  const { database, catalog, snapshot } = input
  const parts = { database, catalog, appview: leaflet, snapshot }
  let restored = 0
  const ms = await elapsedMs(async () => {
    const prepared = isPlanShown ? await prepareReconcile(parts) : undefined
    const { result } = await reconcileRows(parts, { prepared })
    for (const { table, rows } of result.tables)
      if (table === TABLE) restored += rows.filter(({ outcome }) => outcome === 'restored').length
  })
  const expected = tableOf(snapshot, TABLE)?.rows.length
  if (restored !== expected) throw new Error(`${restored} rows were restored, not ${expected}.`)
  return ms
}

/** The same rows from a file, by the server itself: no HTTP, no JSON, no plan, no check. */
export async function copied({ file }: ReconcileInput, stack: RemoteStack): Promise<number> {
  return elapsedMs(() => stack.execute(`copy ${TABLE} from '${file}'`))
}
