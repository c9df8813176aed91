import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import type { RowOutcome } from '../events.ts'
import { inBatches, sizeOf } from './batches.ts'
import { type SetRow, setRows } from './calls.ts'
import { pendingMark } from './marks.ts'
import { keptOfBackup } from './merge-row.ts'
import type { PlannedRow, PlannedTable } from './planned.ts'
import {
  type OverwrittenRow,
  pick,
  type ReconciledRow,
  type RunState,
  type SetEntry,
  withoutAction,
} from './run.ts'

/** Outcomes of a row in which something that was to be set was not. */
const UNSET: ReadonlySet<RowOutcome> = new Set(['kept', 'blocked', 'conflict', 'failed'])

/** A row with the values that are to be set in it. */
interface Ready extends SetEntry {
  columns: readonly string[]
  sent: { id: string; key: ExactRow; set: ExactRow; when: ExactRow; pending?: string }
}

/** Sets columns of rows that are there, each while the row still holds what was seen. */
export class RowSetter {
  readonly overwritten: OverwrittenRow[] = []
  readonly #state: RunState

  constructor(state: RunState) {
    this.#state = state
  }

  async set(planned: PlannedTable, entries: readonly SetEntry[]): Promise<void> {
    if (entries.length === 0) return
    const { table } = planned
    const source = this.#state.source(planned)
    const columns = new Set(entries.flatMap((entry) => entry.planned.columns ?? []))
    await this.#state.watch.lookInto(table, columns)
    const byId = new Map<string, SetEntry[]>()
    for (const entry of entries) byId.set(entry.planned.id, [...(byId.get(entry.planned.id) ?? []), entry])
    for (const batch of inBatches(this.#ready(source, byId), ({ sent }) => sizeOf(sent.set)))
      await this.#setBatch(source, batch)
  }

  *#ready(source: SnapshotTable, entries: ReadonlyMap<string, readonly SetEntry[]>): Generator<Ready> {
    for (const row of source.rows) {
      for (const entry of entries.get(rowId(row, source.key)) ?? []) {
        const columns = this.#settable(source.table, entry.planned)
        if (columns.length > 0) yield this.#readyRow(source, row, entry, columns)
      }
    }
  }

  #readyRow(source: SnapshotTable, row: ExactRow, entry: SetEntry, columns: readonly string[]): Ready {
    const { planned, seen } = entry
    // The handler says it again: a plan names columns, no values.
    const values = planned.merged
      ? { ...row, ...Object.fromEntries(keptOfBackup(this.#state.options.appview, source, row, seen)) }
      : row
    const sent = {
      id: planned.id,
      key: pick(row, source.key),
      set: pick(values, columns),
      when: pick(seen, columns),
      ...(planned.pending && { pending: pendingMark(source.table, planned.id) }),
    }
    return { ...entry, columns, sent }
  }

  /** The columns to set of a row, without those that triggers turned out to keep. */
  #settable(table: string, planned: PlannedRow): string[] {
    const { watch, outcomes } = this.#state
    const wanted = planned.columns ?? []
    const columns = wanted.filter((column) => !watch.keeps(table, column) && !watch.isUnknown(table, column))
    const unknown = wanted.filter((column) => watch.isUnknown(table, column) && !watch.keeps(table, column))
    if (unknown.length > 0) {
      this.#note(table, {
        id: planned.id,
        outcome: 'kept',
        reason: `whether a trigger keeps ${unknown.join(', ')} could not be observed`,
      })
    } else if (columns.length === 0 && outcomes.get(table, planned.id) === undefined) {
      // Of a row that was inserted the rest is restored all the same.
      outcomes.set(table, triggerKept(planned.id, wanted))
    }
    return columns
  }

  async #setBatch(source: SnapshotTable, batch: readonly Ready[]): Promise<void> {
    let open = batch
    while (open.length > 0) {
      const again: Ready[] = []
      for (const group of sameColumns(open)) again.push(...(await this.#setGroup(source, group)))
      open = again
    }
    this.#state.report(batch.length)
  }

  /** @returns rows in which a trigger did not let some columns stand, without these */
  async #setGroup({ table, key }: SnapshotTable, group: readonly Ready[]): Promise<Ready[]> {
    const { options, watch } = this.#state
    const columns = group[0]?.columns ?? []
    const answer = await setRows(
      options.database,
      { table, key, columns },
      group.map(({ sent }) => sent),
    )
    const byId = new Map(group.map((ready) => [ready.planned.id, ready]))
    const again: Ready[] = []
    for (const set of answer) {
      const ready = byId.get(set.id)
      if (ready === undefined) continue
      if (set.outcome !== 'trigger-kept') {
        this.#noteSet(table, set, ready)
        continue
      }
      watch.noteKept(table, set.columns ?? columns)
      const rest = columns.filter((column) => !watch.keeps(table, column))
      if (rest.length > 0) again.push({ ...ready, columns: rest, sent: narrowed(ready.sent, rest) })
      else if (this.#state.outcomes.get(table, set.id) === undefined)
        this.#state.outcomes.set(table, triggerKept(set.id, columns))
    }
    return again
  }

  #noteSet(table: string, set: SetRow, { planned, columns, seen }: Ready): void {
    if (set.outcome === 'set' && planned.overwrites)
      this.overwritten.push({ table, id: planned.id, columns, old: pick(seen, columns) })
    this.#note(table, rowThatWasSet(set, planned))
  }

  /** Columns that were set do not make up for others of the row that were not. */
  #note(table: string, row: ReconciledRow): void {
    const before = this.#state.outcomes.get(table, row.id)
    if (before === undefined || !UNSET.has(before.outcome))
      this.#state.outcomes.set(table, { ...before, ...row })
  }
}

function narrowed(sent: Ready['sent'], columns: readonly string[]): Ready['sent'] {
  return { ...sent, set: pick(sent.set, columns), when: pick(sent.when, columns) }
}

function sameColumns(batch: readonly Ready[]): Ready[][] {
  const groups = new Map<string, Ready[]>()
  for (const ready of batch) {
    const name = JSON.stringify(ready.columns)
    groups.set(name, [...(groups.get(name) ?? []), ready])
  }
  return [...groups.values()]
}

function triggerKept(id: string, columns: readonly string[]): ReconciledRow {
  return { id, outcome: 'trigger-kept', reason: `triggers keep ${columns.join(', ')}` }
}

function rowThatWasSet({ id, outcome, detail }: SetRow, planned: PlannedRow): ReconciledRow {
  switch (outcome) {
    case 'set':
    case 'unchanged':
      return withoutAction(planned)
    case 'blocked':
    case 'conflict':
    case 'failed':
      return { id, outcome, reason: detail ?? 'the database refused it' }
    default:
      return { id, outcome: 'kept', reason: 'changed while it was to be set back' }
  }
}
