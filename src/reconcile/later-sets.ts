import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { meaningOf } from '../database/meaning.ts'
import type { Inserted } from './calls.ts'
import { countableDefaults } from './columns.ts'
import type { MeantRow, TableRun } from './insert-shape.ts'
import type { PlannedRow } from './planned.ts'
import type { RunState, SetEntry } from './run.ts'
import type { SentRow } from './sent-rows.ts'

/** What is left to be set in rows that are there, because they do not hold yet what the backup has. */
export class LaterSets {
  readonly #state: Pick<RunState, 'options' | 'watch'>
  /** By table, values that were held back, to be set when everything is there. */
  readonly #deferred = new Map<string, SetEntry[]>()
  /** By table, rows that triggers made in the place of the backup's. */
  readonly #made = new Map<string, SetEntry[]>()

  constructor(state: Pick<RunState, 'options' | 'watch'>) {
    this.#state = state
  }

  /** Values that were held back of a table's rows; they are handed out once. */
  takeDeferred(table: string): SetEntry[] {
    return taken(this.#deferred, table)
  }

  /** Rows that triggers made in this run, to be set to what the backup has; they are handed out once. */
  takeMade(table: string): SetEntry[] {
    return taken(this.#made, table)
  }

  /** A trigger was quicker: its row is given what the backup has. False where it has that already. */
  overMade(source: SnapshotTable, { id }: PlannedRow, backup: ExactRow, made: ExactRow): boolean {
    const columns = source.columns
      .filter(({ name, type }) => name in made && differs(backup[name], made[name], type))
      .map(({ name }) => name)
    if (columns.length === 0) return false
    const reason = 'a trigger had made this row anew'
    const planned: PlannedRow = { id, action: 'set', outcome: 'restored', columns, reason }
    push(this.#made, source.table, { planned, seen: made })
    return true
  }

  /** Of rows that were inserted, what they were given other values for, and what triggers made other than it was sent. */
  defer(run: TableRun, batch: readonly MeantRow[], answer: Inserted, sent: readonly SentRow[]): void {
    if (answer.altered.length === 0 && Object.keys(run.instead).length === 0) return
    const { table } = run.shape
    const restored = new Set(answer.rows.filter(({ outcome }) => outcome === 'restored').map(({ id }) => id))
    const altered = new Map(answer.altered.map(({ id, row }) => [id, row]))
    const asSent = new Map(sent.map(({ id, row }) => [id, row]))
    const types = new Map(run.source.columns.map(({ name, type }) => [name, type]))
    const isOther = (column: string, a: ExactRow | undefined, b: ExactRow): boolean =>
      differs(a?.[column], b[column], types.get(column) ?? 'text')
    const countable = countableDefaults(this.#state.options.catalog, table)
    for (const { id, row } of batch) {
      if (!restored.has(id)) continue
      const now = altered.get(id) ?? {}
      const changed = Object.keys(now).filter((column) => isOther(column, asSent.get(id), now))
      // Nothing that hangs there has come yet: a count that has moved is counted by the table's own trigger.
      const counted = changed.filter((column) => column in countable)
      this.#state.watch.noteKept(table, counted)
      const heldBack = Object.keys(run.instead).filter(
        (column) => column in row && isOther(column, row, run.instead),
      )
      this.#defer(table, id, without(heldBack, counted), run.instead)
      this.#defer(table, id, without(changed, counted), now)
    }
  }

  #defer(table: string, id: string, columns: readonly string[], seen: ExactRow): void {
    if (columns.length === 0) return
    push(this.#deferred, table, { planned: { id, action: 'set', outcome: 'restored', columns }, seen })
  }
}

function without(columns: readonly string[], others: readonly string[]): string[] {
  return columns.filter((column) => !others.includes(column))
}

function differs(a: string | null | undefined, b: string | null | undefined, type: string): boolean {
  return meaningOf(a ?? null, type) !== meaningOf(b ?? null, type)
}

function push<T>(lists: Map<string, T[]>, table: string, item: T): void {
  const list = lists.get(table) ?? []
  list.push(item)
  lists.set(table, list)
}

function taken<T>(lists: Map<string, T[]>, table: string): T[] {
  const list = lists.get(table) ?? []
  lists.delete(table)
  return list
}
