import type { ExactRow } from '../database/exact.ts'
import { inBatches, overlapped, sizeOf } from './batches.ts'
import { type Inserted, insertRows } from './calls.ts'
import { isNumber } from './columns.ts'
import type { ConsentDecision, ConsentDecisions } from './consent/decision.ts'
import { refusalOf } from './consent-rule.ts'
import { type MeantRow, meantRows, sentRow, type TableRun, tableRun } from './insert-shape.ts'
import { LaterSets } from './later-sets.ts'
import type { PlannedRow, PlannedTable } from './planned.ts'
import { rowsInOrder } from './rows-in-order.ts'
import type { ReconciledRow, RunState } from './run.ts'
import type { SentRow } from './sent-rows.ts'

/** Each holds a connection of the database's pool. */
const BATCHES_AT_ONCE = 3

/**
 * Inserts the rows of a plan, a batch in a transaction, parents first. Values that may be counted by triggers, and
 * references that cannot be there yet, are held back: they are set when all rows are there.
 */
export class RowInserter {
  readonly stuckSequences = new Set<string>()
  /** What is to be set when everything is there. */
  readonly later: LaterSets
  readonly #state: RunState

  constructor(state: RunState) {
    this.#state = state
    this.later = new LaterSets(state)
  }

  async insert(planned: PlannedTable): Promise<void> {
    const inserts = new Map<string, PlannedRow>()
    for (const row of planned.rows) if (row.action === 'insert') inserts.set(row.id, row)
    if (inserts.size === 0) return
    const run = await tableRun(this.#state, planned)
    const selfKeys = this.#state.options.catalog.foreignKeys.filter(
      (key) => key.child === planned.table && key.parent === planned.table,
    )
    const rows = meantRows(this.#state, run, inserts)
    if (selfKeys.length === 0) {
      // What triggers do is seen one batch at a time.
      await this.#insertAll(run, rows, run.shape.watch.length > 0 ? 1 : BATCHES_AT_ONCE)
      return
    }
    // Which of them come first is only known with all of them at hand; a circle that a batch cuts is tried again.
    let open = rowsInOrder([...rows], selfKeys)
    for (;;) {
      await this.#insertAll(run, open, 1)
      const blocked = open.filter(
        ({ id }) => this.#state.outcomes.get(planned.table, id)?.outcome === 'blocked',
      )
      if (blocked.length === 0 || blocked.length === open.length) return
      open = blocked
    }
  }

  /** @param atOnce batches under way: those hang on nothing in one another */
  async #insertAll(run: TableRun, rows: Iterable<MeantRow>, atOnce: number): Promise<void> {
    const batches = inBatches(rows, ({ row }) => sizeOf(row))
    await overlapped(
      batches,
      atOnce,
      async (batch) => {
        await this.#insertAsked(run, batch)
        return batch.length
      },
      (count) => this.#state.report(count),
    )
  }

  async #insertAsked(run: TableRun, batch: readonly MeantRow[]): Promise<void> {
    const decisions = await this.#decisions(batch)
    const asked = batch.filter((meant) => this.#isAllowed(run, meant, decisions))
    // A row whose record could not be written back comes although that record is known as deleted.
    const isWithout = ({ planned }: MeantRow) => planned.withoutRecord === true
    await this.#insertBatch(run, asked.filter(isWithout), decisions, {})
    const withRecord = run.of === undefined ? {} : { of: run.of }
    await this.#insertBatch(
      run,
      asked.filter((meant) => !isWithout(meant)),
      decisions,
      withRecord,
    )
  }

  async #decisions(batch: readonly MeantRow[]): Promise<ConsentDecisions> {
    const { consent, consentAgain } = this.#state.options
    const uris = [...new Set(batch.flatMap(({ foreign }) => foreign ?? []))]
    if (uris.length === 0 || consentAgain === undefined) return consent ?? new Map<string, ConsentDecision>()
    return consentAgain(uris)
  }

  #isAllowed({ source }: TableRun, { id, foreign }: MeantRow, decisions: ConsentDecisions): boolean {
    const { outcomes, options } = this.#state
    if (foreign === undefined) return true
    const refusal = refusalOf(decisions.get(foreign), options.unreachable)
    if (refusal === undefined) return true
    outcomes.set(source.table, { id, ...refusal })
    return false
  }

  async #insertBatch(
    run: TableRun,
    batch: readonly MeantRow[],
    decisions: ConsentDecisions,
    record: { of?: string },
  ): Promise<void> {
    if (batch.length === 0) return
    const sent = batch.map((meant) => sentRow(run, meant, decisions, run.instead))
    const answer = await this.#send(run, sent, record)
    this.#noteOutcomes(run, batch, answer, decisions)
    this.later.defer(run, batch, answer, sent)
    await this.#insertWhole(run, batch, { answer, decisions, record })
  }

  /**
   * A check may not let a row pass with what it holds for the time being: then it comes with everything but the
   * numbers, which are what is mostly counted, and if that does not help, as it was.
   */
  async #insertWhole(
    run: TableRun,
    batch: readonly MeantRow[],
    { answer, decisions, record }: { answer: Inserted; decisions: ConsentDecisions; record: { of?: string } },
  ): Promise<void> {
    const types = new Map(run.source.columns.map(({ name, type }) => [name, type]))
    const numbers = Object.entries(run.instead).filter(([name]) => isNumber(types.get(name) ?? ''))
    let failed = answer
    for (const instead of [Object.fromEntries(numbers), {}]) {
      const ids = new Set(failed.rows.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id))
      const again = batch.filter(({ id, row }) => ids.has(id) && isHeldBack(row, run.instead))
      if (again.length === 0) return
      const sent = again.map((meant) => sentRow(run, meant, decisions, instead))
      failed = await this.#send(run, sent, record)
      this.#noteOutcomes(run, again, failed, decisions)
      this.later.defer({ ...run, instead }, again, failed, sent)
    }
  }

  async #send({ shape }: TableRun, rows: readonly SentRow[], record: { of?: string }): Promise<Inserted> {
    const answer = await insertRows(this.#state.options.database, { ...shape, ...record }, rows)
    this.#state.watch.note(shape.table, answer)
    for (const sequence of answer.stuck) this.stuckSequences.add(sequence)
    return answer
  }

  #noteOutcomes(
    { source }: TableRun,
    batch: readonly MeantRow[],
    answer: Inserted,
    decisions: ConsentDecisions,
  ): void {
    const { outcomes, watch } = this.#state
    const meant = new Map(batch.map((row) => [row.id, row]))
    for (const { id, outcome, detail, holder } of answer.rows) {
      const { planned, foreign, row: backup = {} } = meant.get(id) ?? {}
      const row: ReconciledRow = { id, outcome }
      const made = outcome === 'kept' ? watch.madeRow(source.table, id) : undefined
      const reason = outcome === 'restored' ? planned?.reason : detail
      if (reason !== undefined) row.reason = reason
      if (outcome === 'restored' && foreign !== undefined && decisions.get(foreign)?.consent !== 'same')
        row.unverified = true
      if (outcome === 'conflict' && holder !== undefined && this.#isMade(source.table, holder)) {
        row.outcome = 'trigger-kept'
        row.reason = `a trigger has made a row in its place: ${detail ?? ''}`
      }
      // Told when the row has been set to what the backup has.
      if (made !== undefined && planned !== undefined && this.later.overMade(source, planned, backup, made))
        continue
      outcomes.set(source.table, row)
    }
  }

  #isMade(table: string, holder: readonly (string | null)[]): boolean {
    return this.#state.watch.madeRow(table, JSON.stringify(holder)) !== undefined
  }
}

function isHeldBack(row: ExactRow, instead: ExactRow): boolean {
  return Object.keys(instead).some((column) => (row[column] ?? null) !== (instead[column] ?? null))
}
