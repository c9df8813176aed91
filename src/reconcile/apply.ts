import { z } from 'zod'
import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { retrying } from '../database/retry.ts'
import { type AppView, ROW_OUTCOMES, type RowOutcome } from '../events.ts'
import { countableDefaults } from './columns.ts'
import type { CurrentRows } from './current.ts'
import { halved } from './halved.ts'
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

const FOREIGN_KEY_VIOLATION = '23503'

const insertAnswer = z.object({
  rows: z.array(z.object({ id: z.string(), outcome: z.enum(ROW_OUTCOMES), detail: z.string().optional() })),
  observed: z.array(z.object({ table: z.string(), column: z.string() })),
})
const setAnswer = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      outcome: z.enum(['set', 'unchanged', 'kept', 'missing', 'blocked', 'failed']),
      detail: z.string().optional(),
    }),
  ),
})

type SetRow = z.infer<typeof setAnswer>['rows'][number]

/**
 * Does what a plan says. The database decides again for each row in the transaction that writes it. All rows are
 * inserted before any column is set back, so that a run cut short never looks as if nothing had been lost.
 *
 * @throws UnavailableError when the database stays away; what is done stays done, and a new plan takes it up
 */
export async function applyReconcile(options: ApplyOptions): Promise<ReconcileResult> {
  const run = new ReconcileRun(options)
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
      const blocked = await this.#insertOnce(table, open)
      // In a table that refers to itself the row waited for may have come in a later batch.
      if (!refersToItself || blocked.length === 0 || blocked.length === open.length) return
      open = blocked
    }
  }

  /** The rows that are blocked. */
  async #insertOnce(table: string, planned: readonly PlannedRow[]): Promise<PlannedRow[]> {
    const source = this.#source(table)
    const known = new Set(this.#options.catalog.writableColumns(table))
    const columns = source.columns.map((column) => column.name).filter((column) => known.has(column))
    const of = derivedTable(this.#options.appview, table)?.of
    const byId = new Map(source.rows.map((row) => [rowId(row, source.key), row]))
    const defaults = countableDefaults(this.#options.catalog, table)
    for (const batch of inBatches(planned)) {
      const rows = batch.map(({ id }) => ({ id, row: { ...pick(byId.get(id) ?? {}, columns), ...defaults } }))
      const answer = await this.#insertRows(
        { table, key: source.key, columns, ...(of === undefined ? {} : { of }) },
        rows,
      )
      for (const { id, outcome, detail } of answer.rows) {
        const row: ReconciledRow = { id, outcome }
        if (detail !== undefined) row.reason = detail
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
    const tables = this.#options.plan.tables
      .filter(({ rows }) => rows.some((row) => row.action === 'insert'))
      .map(({ table }) => table)
    if (tables.length === 0) return
    await retrying(() => this.#options.database.call('firehose_replay_sweep', { tables }))
  }

  /** @param seen what a row must still hold to be changed */
  async setColumns(
    table: string,
    planned: readonly PlannedRow[],
    seen = (id: string): ExactRow => this.#options.current.get(table)?.get(id) ?? {},
  ): Promise<void> {
    const source = this.#source(table)
    const byId = new Map(source.rows.map((row) => [rowId(row, source.key), row]))
    for (const [columns, group] of this.#byColumns(table, planned)) {
      for (const batch of inBatches(group)) {
        const rows = batch.map(({ id }) => {
          const row = byId.get(id) ?? {}
          return {
            id,
            key: pick(row, source.key),
            set: pick(row, columns),
            when: pick(seen(id), columns),
          }
        })
        const answer = await this.#setRows({ table, key: source.key, columns }, rows)
        const plannedById = new Map(batch.map((row) => [row.id, row]))
        for (const set of answer) {
          const row = rowThatWasSet(set, plannedById.get(set.id)?.outcome ?? 'kept')
          this.#outcomes.set(`${table} ${row.id}`, { ...this.#outcomes.get(`${table} ${row.id}`), ...row })
        }
        this.#report(batch.length)
      }
    }
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

  async #insertRows(
    shape: object,
    rows: readonly { id: string; row: ExactRow }[],
  ): Promise<z.infer<typeof insertAnswer>> {
    const answers = await halved(
      rows,
      async (some) =>
        insertAnswer.parse(
          await this.#options.database.call('firehose_replay_restore', { ...shape, rows: some }),
        ),
      ({ id }, { message }) => ({
        rows: [{ id, outcome: 'failed' as const, detail: message }],
        observed: [],
      }),
    )
    return {
      rows: answers.flatMap((answer) => answer.rows),
      observed: answers.flatMap((answer) => answer.observed),
    }
  }

  /** A row that the set value names may have gone since the plan: that blocks it, like one that is inserted. */
  async #setRows(shape: object, rows: readonly { id: string }[]): Promise<SetRow[]> {
    const answers = await halved(
      rows,
      async (some) => {
        const batch = { ...shape, rows: some }
        return setAnswer.parse(await this.#options.database.call('firehose_replay_set_columns', batch)).rows
      },
      ({ id }, { code, message }): SetRow[] => [
        { id, outcome: code === FOREIGN_KEY_VIOLATION ? 'blocked' : 'failed', detail: message },
      ],
    )
    return answers.flat()
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

function rowThatWasSet({ id, outcome, detail }: SetRow, wanted: RowOutcome): ReconciledRow {
  switch (outcome) {
    case 'set':
    case 'unchanged':
      return { id, outcome: wanted }
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
