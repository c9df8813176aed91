import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { setMarks } from '../database/marks.ts'
import type { AppView, RowOutcome } from '../events.ts'
import { insertRows, type SetRow, setRows, sweep } from './calls.ts'
import { countableDefaults } from './columns.ts'
import type { CurrentRows } from './current.ts'
import { marksOf } from './marks.ts'
import { keptOfBackup } from './merge-row.ts'
import type { PlannedRow, ReconcilePlan } from './plan.ts'

/** What became of one row of the snapshot. */
export interface ReconciledRow {
  id: string
  outcome: RowOutcome
  reason?: string
  /** True for a restored row made from another account's record that nobody has looked for. */
  unverified?: boolean
}

export interface ReconcileResult {
  tables: { table: string; rows: ReconciledRow[] }[]
  /** Columns that changed by themselves when rows came: triggers keep them, so they were not set back. */
  triggerKept: { table: string; column: string }[]
}

export interface ApplyOptions {
  database: Database
  catalog: Catalog
  appview: AppView
  snapshot: Snapshot
  plan: ReconcilePlan
  /** The rows that the plan was made from. */
  current: CurrentRows
  onProgress?: (done: number, total: number) => void
}

/** Rows in one transaction: well under the 8 seconds that a statement has through the API. */
const ROWS_PER_BATCH = 500

/** Outcomes of a row in which something that was to be set was not. */
const UNSET: ReadonlySet<RowOutcome> = new Set(['kept', 'blocked', 'failed'])

/**
 * Does what a plan says. The database decides again for each row in the transaction that writes it. All rows are
 * inserted before any column is set back, so that a run cut short never looks as if nothing had been lost.
 *
 * @throws UnavailableError when the database stays away; what is done stays done, and a new plan takes it up
 */
export async function applyReconcile(options: ApplyOptions): Promise<ReconcileResult> {
  const run = new ReconcileRun(options)
  await setMarks(options.database, marksOf(options))
  for (const { table, rows } of options.plan.tables) {
    await run.insert(
      table,
      rows.filter((row) => row.action === 'insert'),
    )
  }
  await run.sweep()
  // Children first: as long as the roots have their new birth, a run cut short still knows that they were lost.
  for (const { table, rows } of options.plan.tables.toReversed()) {
    await run.setColumns(
      table,
      rows.filter((row) => row.action === 'set'),
    )
    await run.setDeferred(table)
  }
  return run.result()
}

class ReconcileRun {
  readonly #options: ApplyOptions
  readonly #outcomes = new Map<string, ReconciledRow>()
  readonly #observed = new Map<string, { table: string; column: string }>()
  /** By table, rows that were inserted with defaults in place of what triggers may keep. */
  readonly #deferred = new Map<string, PlannedRow[]>()
  readonly #total: number
  #done = 0

  constructor(options: ApplyOptions) {
    this.#options = options
    this.#total = options.plan.tables.reduce(
      (sum, { rows }) => sum + rows.filter((row) => row.action !== 'none').length,
      0,
    )
  }

  async insert(table: string, planned: readonly PlannedRow[]): Promise<void> {
    const refersToItself = this.#options.catalog.foreignKeys.some(
      (key) => key.child === table && key.parent === table,
    )
    let open = planned
    for (;;) {
      const isWithout = (row: PlannedRow) => row.withoutRecord === true
      const blocked = [
        ...(await this.#insertOnce(table, open.filter(isWithout), true)),
        ...(await this.#insertOnce(
          table,
          open.filter((row) => !isWithout(row)),
          false,
        )),
      ]
      // In a table that refers to itself the row waited for may have come in a later batch.
      if (!refersToItself || blocked.length === 0 || blocked.length === open.length) return
      open = blocked
    }
  }

  /**
   * @param withoutRecord the rows come although their records are deleted: those could not be written back
   * @returns the rows that are blocked
   */
  async #insertOnce(
    table: string,
    planned: readonly PlannedRow[],
    withoutRecord: boolean,
  ): Promise<PlannedRow[]> {
    const source = this.#source(table)
    const known = new Set(this.#options.catalog.writableColumns(table))
    const columns = source.columns.map((column) => column.name).filter((column) => known.has(column))
    const of = derivedTable(this.#options.appview, table)?.of
    const byId = new Map(source.rows.map((row) => [rowId(row, source.key), row]))
    const defaults = countableDefaults(this.#options.catalog, table)
    for (const batch of inBatches(planned)) {
      const rows = batch.map(({ id }) => ({ id, row: { ...pick(byId.get(id) ?? {}, columns), ...defaults } }))
      const answer = await insertRows(
        this.#options.database,
        { table, key: source.key, columns, ...(of === undefined || withoutRecord ? {} : { of }) },
        rows,
      )
      const reasons = new Map(batch.map(({ id, reason }) => [id, reason]))
      for (const { id, outcome, detail } of answer.rows) {
        const row: ReconciledRow = { id, outcome }
        const reason = outcome === 'restored' ? reasons.get(id) : detail
        if (reason !== undefined) row.reason = reason
        if (outcome === 'restored' && of !== undefined && !this.#isOwn(byId.get(id)?.[of]))
          row.unverified = true
        this.#outcomes.set(`${table} ${id}`, row)
        if (outcome === 'restored') this.#defer(table, id, byId.get(id) ?? {}, defaults)
      }
      for (const observed of answer.observed)
        this.#observed.set(`${observed.table}.${observed.column}`, observed)
      this.#report(batch.length)
    }
    return planned.filter(({ id }) => this.#outcomes.get(`${table} ${id}`)?.outcome === 'blocked')
  }

  /**
   * Rows of other accounts that arrived while a row they hang on was gone wait for it. Those that the replay did not
   * bring were inserted here, so what waits for them is let in now: after the backup's own rows, which keep their
   * old values that way.
   */
  async sweep(): Promise<void> {
    const tables = this.#options.plan.tables.filter((planned) => planned.sweep).map(({ table }) => table)
    if (tables.length === 0) return
    await sweep(this.#options.database, tables)
  }

  /** @param seen what a row must still hold to be changed */
  async setColumns(
    table: string,
    planned: readonly PlannedRow[],
    seen = (id: string): ExactRow => this.#options.current.get(table)?.get(id) ?? {},
  ): Promise<void> {
    const source = this.#source(table)
    const byId = new Map(source.rows.map((row) => [rowId(row, source.key), row]))
    for (const [columns, group] of this.#byColumns(table, planned.flatMap(withAwaitedApart))) {
      for (const batch of inBatches(group)) {
        const rows = batch.map(({ id, merged }) => {
          const row = byId.get(id) ?? {}
          return {
            id,
            key: pick(row, source.key),
            set: pick(merged ? { ...row, ...this.#merged(source, row, seen(id)) } : row, columns),
            when: pick(seen(id), columns),
          }
        })
        const answer = await setRows(this.#options.database, { table, key: source.key, columns }, rows)
        const plannedById = new Map(batch.map((row) => [row.id, row]))
        for (const set of answer) {
          const row = rowThatWasSet(set, plannedById.get(set.id))
          const before = this.#outcomes.get(`${table} ${row.id}`)
          // Columns that were set do not make up for others of the row that were not.
          if (before === undefined || !UNSET.has(before.outcome))
            this.#outcomes.set(`${table} ${row.id}`, { ...before, ...row })
        }
        this.#report(batch.length)
      }
    }
  }

  /** The handler says it again: a plan names columns, no values. */
  #merged(source: SnapshotTable, row: ExactRow, now: ExactRow): ExactRow {
    return Object.fromEntries(keptOfBackup(this.#options.appview, source, row, now))
  }

  /** Gives inserted rows the values that were held back, in the columns that no trigger turned out to keep. */
  async setDeferred(table: string): Promise<void> {
    const rows = this.#deferred.get(table)
    if (rows === undefined) return
    const defaults = countableDefaults(this.#options.catalog, table)
    await this.setColumns(table, rows, () => defaults)
  }

  #defer(table: string, id: string, row: ExactRow, defaults: ExactRow): void {
    const columns = Object.keys(defaults).filter((column) => row[column] !== defaults[column])
    if (columns.length === 0) return
    const rows = this.#deferred.get(table) ?? []
    rows.push({ id, action: 'set', outcome: 'restored', columns })
    this.#deferred.set(table, rows)
  }

  result(): ReconcileResult {
    return {
      tables: this.#options.plan.tables.map(({ table, rows }) => ({
        table,
        rows: rows.map((row) => this.#outcomes.get(`${table} ${row.id}`) ?? withoutAction(row)),
      })),
      triggerKept: [...this.#observed.values()],
    }
  }

  /** Rows that set the same columns, without those that triggers turned out to keep. */
  #byColumns(table: string, planned: readonly PlannedRow[]): [columns: string[], rows: PlannedRow[]][] {
    const groups = new Map<string, [string[], PlannedRow[]]>()
    for (const row of planned) {
      const columns = (row.columns ?? []).filter((column) => !this.#observed.has(`${table}.${column}`))
      if (columns.length === 0) {
        // Of a row that was inserted the rest is restored all the same.
        if (!this.#outcomes.has(`${table} ${row.id}`)) {
          this.#outcomes.set(`${table} ${row.id}`, { id: row.id, outcome: 'trigger-kept' })
        }
        continue
      }
      const group = groups.get(columns.join()) ?? [columns, []]
      group[1].push(row)
      groups.set(columns.join(), group)
    }
    return [...groups.values()]
  }

  #source(table: string): SnapshotTable {
    const found = this.#options.snapshot.tables.find((candidate) => candidate.table === table)
    if (found === undefined) throw new TypeError(`the plan names ${table}, which the snapshot does not hold`)
    return found
  }

  #isOwn(uri: string | null | undefined): boolean {
    return uri?.startsWith(`at://${this.#options.snapshot.did}/`) ?? false
  }

  #report(count: number): void {
    this.#done += count
    this.#options.onProgress?.(this.#done, this.#total)
  }
}

/** What the index has filled by now must not look like a change to the row's other columns. */
function withAwaitedApart(planned: PlannedRow): PlannedRow[] {
  const { awaited, columns = [], ...row } = planned
  if (awaited === undefined) return [planned]
  const others = columns.filter((column) => !awaited.includes(column))
  return [{ ...row, columns: awaited }, ...(others.length > 0 ? [{ ...row, columns: others }] : [])]
}

function rowThatWasSet({ id, outcome, detail }: SetRow, planned: PlannedRow | undefined): ReconciledRow {
  switch (outcome) {
    case 'set':
    case 'unchanged':
      return withoutAction(planned ?? { id, action: 'set', outcome: 'kept' })
    case 'blocked':
    case 'failed':
      return { id, outcome, reason: detail ?? 'the database refused it' }
    default:
      return { id, outcome: 'kept', reason: 'changed while it was to be set back' }
  }
}

function withoutAction({ id, outcome, reason }: PlannedRow): ReconciledRow {
  return reason === undefined ? { id, outcome } : { id, outcome, reason }
}

function pick(row: ExactRow, columns: readonly string[]): ExactRow {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))
}

function inBatches<T>(items: readonly T[]): T[][] {
  const batches: T[][] = []
  for (let start = 0; start < items.length; start += ROWS_PER_BATCH)
    batches.push(items.slice(start, start + ROWS_PER_BATCH))
  return batches
}
